//===- Embedded.h - The support runtime, as the compiler carries it ------------------------------------------*- C++ -*-===//
#ifndef QUANTA_RUNTIME_EMBEDDED_H
#define QUANTA_RUNTIME_EMBEDDED_H

#include <cstddef>

/// LLVM bitcode of lib/Runtime for the host's triple; aligned to 16 bytes. Functions of the interface in quanta_rt.h are
/// hidden; quanta_pool_create and quanta_pool_destroy are weak and visible.
extern "C" const unsigned char quanta_rt_bitcode[];
extern "C" const std::size_t quanta_rt_bitcode_size;

/// The text of quanta/Runtime/quanta.h, null-terminated; the size does not count the terminator.
extern "C" const char quanta_header_text[];
extern "C" const std::size_t quanta_header_text_size;

#endif // QUANTA_RUNTIME_EMBEDDED_H
