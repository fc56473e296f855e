//===- Target.h - Facts about the machines that models are compiled for ---------------------------------------*- C++ -*-===//
#ifndef QUANTA_TARGET_TARGET_H
#define QUANTA_TARGET_TARGET_H

#include "quanta/Runtime/Embedded.h"
#include "quanta/Target/TargetLevel.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include "llvm/TargetParser/Triple.h"
#include <string>
#include <vector>

namespace quanta {

/// What does not depend on the core.
struct ArchitectureFacts {
  llvm::Triple::ArchType arch;
  uint16_t elfMachine;
  const char *is64Bit;   ///< LLVM's name of what all its cores of 64 bits have: "+a"
  const char *oldest;    ///< LLVM's name of its oldest core
  const char *loader;    ///< file name of the dynamic linker
  bool hasLargeSections; ///< data may lie anywhere; else within the 4 GiB that code addresses
  const char *scalable;  ///< LLVM's name of vectors whose length depends on the core: "+a"; null if there are none
  llvm::ArrayRef<const char *> checked; ///< the list of lib/Runtime/features.def
};

/// A triple and a core.
struct Target {
  std::string triple;   ///< normalised
  std::string name;     ///< of the core, for people
  std::string cpu;      ///< LLVM's name of a core whose instructions are used
  std::string features; ///< "+a,-b": on top of what that core has
  const ArchitectureFacts *architecture = nullptr;
  /// Scalable vectors have at least so many bits: code for them runs with longer ones, too. 0: they are not used.
  unsigned scalableBits = 0;

  /// Checks that options name a target that this build can compile for. An empty triple is this machine's. No core: this
  /// machine's, or for another triple any core of the architecture. CORE@BITS: scalable vectors of at least so many bits (128:
  /// none but those of fixed length); CORE alone: they are not used, but by code for this machine. CORE+FEATURE+FEATURE: with
  /// instructions, as LLVM names them, that LLVM does not know the core to have.
  static llvm::Expected<Target> resolve(llvm::StringRef triple, llvm::StringRef cpu);
  /// Several cores for one object, best first; CORE alone stands for CORE@BITS of each length that there is code for, so that the
  /// object is good for all. If there are two or more, each uses only those of its instructions that a
  /// program can look for (lib/Runtime/features.def) on top of the architecture's oldest core.
  static llvm::Expected<std::vector<Target>> resolveAll(llvm::StringRef triple, llvm::ArrayRef<std::string> cpus);

  /// What the core can do.
  const TargetLevel &getLevel() const;
  EmbeddedRuntime getRuntime() const;
  /// The features that a program can look for and this target uses, as quanta_cpu_features counts them.
  uint64_t getCheckedFeatures() const;
  /// The architecture's oldest core.
  Target getBaseline() const;
};

/// "x86_64-unknown-linux-gnu, x86-64-v4, x86-64-v3": targets of one triple.
std::string describeTargets(llvm::ArrayRef<Target> targets);

/// Whether code for the triple runs on this machine.
bool isHost(const llvm::Triple &triple);

} // namespace quanta

#endif // QUANTA_TARGET_TARGET_H
