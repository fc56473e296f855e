//===- Phases.h - The steps of a compilation ------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_PHASES_H
#define QUANTA_PIPELINES_PHASES_H

#include "quanta/Target/TargetLevel.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>

namespace mlir {
class OpPassManager;
}

namespace mlir::quanta {

/// In order; see docs/Architecture.md for the IR between them.
enum class Phase { Import, Prepare, Transform, Quantize, Lower, Codegen };

struct PhaseInfo {
  Phase phase;
  llvm::StringRef name, summary;
};
llvm::ArrayRef<PhaseInfo> getPhases();
llvm::StringRef getName(Phase phase);
std::optional<Phase> findPhase(llvm::StringRef name);
/// For --help.
std::string describePhases();

/// The passes of the phase `lower`, kernels included, for a target of this level (Target::getLevel).
void buildLowerPhase(OpPassManager &passes, const ::quanta::TargetLevel &level);
/// Its first part: what tensors become before they are buffers (--emit=linalg).
void buildLinalg(OpPassManager &passes);

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_PHASES_H
