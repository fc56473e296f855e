//===- Emission.h - From a module in the LLVM dialect to files ------------------------------------------------*- C++ -*-===//
//
// What goes in is described in docs/Architecture.md, "What codegen receives".
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CODEGEN_EMISSION_H
#define QUANTA_CODEGEN_EMISSION_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <array>
#include <map>
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
}

namespace mlir::quanta {

enum class EmitKind { LLVMIR, Assembly, Object, Library, Executable, Header };

enum class WeightsPlacement {
  Auto,  ///< .rodata, and from 1 GiB on .lrodata where the target has it
  Large, ///< .lrodata, where the target has it
  File   ///< OUTPUT.weights, which the program names in quanta_options::weights_file
};

/// Object code by the SHA-256 of what it was made of. Layers of a network repeat, and their code does not depend on weights.
using ObjectCache = std::map<std::array<uint8_t, 32>, std::string>;

struct EmissionOptions {
  std::string output;
  EmitKind kind = EmitKind::Object;
  /// Prefix of the C symbols: an identifier.
  std::string name;
  /// Empty: the host's.
  std::string triple;
  /// As Target::resolveAll takes them.
  std::vector<std::string> cpus;
  unsigned optLevel = 3;
  WeightsPlacement weights = WeightsPlacement::Auto;
  /// Of code that was made with the same options; null: none.
  ObjectCache *cache = nullptr;
};

struct EmissionResult {
  std::string target;        ///< "x86_64-unknown-linux-gnu, x86-64-v4, x86-64-v3"
  uint64_t weightsBytes = 0; ///< with padding
  uint64_t outputBytes = 0;
};

/// Writes the model to `options.output`, complete or not at all. Equal modules and options give equal bytes. Uses up to a
/// few MiB beyond what the code itself needs, however large the weights are.
///
/// There is a module for each target that Target::resolveAll makes of the options, in its order. All hold the same weights,
/// which are stored once. The compiled model takes the first whose instructions the CPU has.
llvm::Expected<EmissionResult> emitModel(ArrayRef<ModuleOp> modules, const EmissionOptions &options);

/// A C identifier that does not collide with the runtime's names.
llvm::Error checkModelName(llvm::StringRef name);

/// Translations to LLVM IR that emitModel needs; it adds them itself to the module's context.
void registerEmissionTranslations(DialectRegistry &registry);

} // namespace mlir::quanta

#endif // QUANTA_CODEGEN_EMISSION_H
