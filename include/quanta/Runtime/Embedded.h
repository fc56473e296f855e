//===- Embedded.h - The support runtime, as the compiler carries it ------------------------------------------*- C++ -*-===//
#ifndef QUANTA_RUNTIME_EMBEDDED_H
#define QUANTA_RUNTIME_EMBEDDED_H

#include <cstddef>

namespace quanta {

/// A file inside the compiler, aligned to 16 bytes; a null byte follows it.
struct EmbeddedFile {
  const unsigned char *data;
  std::size_t size;
};

/// LLVM bitcode of lib/Runtime for one architecture, compiled for its oldest core.
struct EmbeddedRuntime {
  const char *architecture; ///< as in a triple: "x86_64"
  /// Functions of the interface in quanta_rt.h are hidden; quanta_pool_create and quanta_pool_destroy are weak and visible.
  EmbeddedFile runtime;
  /// `main` of --emit=exe.
  EmbeddedFile runner;
};

/// Null if this build does not carry one.
const EmbeddedRuntime *findEmbeddedRuntime(const char *architecture);

/// The text of quanta/Runtime/quanta.h.
EmbeddedFile getEmbeddedHeader();

} // namespace quanta

#endif // QUANTA_RUNTIME_EMBEDDED_H
