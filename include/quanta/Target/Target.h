//===- Target.h - Facts about the machines that models are compiled for ---------------------------------------*- C++ -*-===//
#ifndef QUANTA_TARGET_TARGET_H
#define QUANTA_TARGET_TARGET_H

#include "quanta/Runtime/Embedded.h"
#include "quanta/Target/TargetLevel.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"
#include <string>

namespace quanta {

/// What does not depend on the core.
struct ArchitectureFacts {
  llvm::Triple::ArchType arch;
  uint16_t elfMachine;
  const char *loader;    ///< file name of the dynamic linker
  bool hasLargeSections; ///< data may lie anywhere; else within the 4 GiB that code addresses
};

/// A triple and a core.
struct Target {
  std::string triple;   ///< normalised
  std::string cpu;      ///< LLVM's name
  std::string features; ///< "+a,-b": on top of what the core has
  const ArchitectureFacts *architecture = nullptr;

  /// Checks that options name a target that this build can compile for. An empty triple is this machine's. No core: this
  /// machine's, or for another triple any core of the architecture.
  static llvm::Expected<Target> resolve(llvm::StringRef triple, llvm::ArrayRef<std::string> cpus);

  /// What the core can do.
  const TargetLevel &getLevel() const;
  EmbeddedRuntime getRuntime() const;
};

/// Whether code for the triple runs on this machine.
bool isHost(const llvm::Triple &triple);

} // namespace quanta

#endif // QUANTA_TARGET_TARGET_H
