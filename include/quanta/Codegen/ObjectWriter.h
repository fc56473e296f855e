//===- ObjectWriter.h - Weights as an object file, streamed ---------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_OBJECTWRITER_H
#define QUANTA_CODEGEN_OBJECTWRITER_H

#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Target/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace llvm {
class raw_ostream;
}

namespace mlir::quanta {

/// Bytes of the weights section.
llvm::Expected<uint64_t> getWeightsBytes(ModuleOp module);

/// Writes the contents of the weights section, packing each `quanta.weights` as its layout says. Only a tile of a weight is
/// in memory at a time.
llvm::Error writeWeights(ModuleOp module, llvm::raw_ostream &os);

struct WeightsSection {
  std::string symbol; ///< hidden; at the section's start
  std::string name;   ///< of the section
  bool large = false; ///< x86-64: may lie further than 2 GiB from code
  uint64_t bytes = 0;
};

/// Writes an ELF64 relocatable object with one read-only section that holds the weights.
llvm::Error writeWeightsObject(ModuleOp module, const WeightsSection &section, const ::quanta::ArchitectureFacts &architecture,
                               llvm::StringRef path);

} // namespace mlir::quanta

#endif // QUANTA_CODEGEN_OBJECTWRITER_H
