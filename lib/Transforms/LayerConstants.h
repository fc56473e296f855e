//===- LayerConstants.h - Constants of layers and norms change -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_LAYERCONSTANTS_H
#define QUANTA_LIB_TRANSFORMS_LAYERCONSTANTS_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SetVector.h"
#include <vector>

namespace mlir::quanta {

/// Changes constants of layers and norms. Old ones that nobody else uses go with `eraseReplaced`.
class LayerConstants {
public:
  explicit LayerConstants(ModuleOp module) : module(module) {}

  static bool isFloat(Value value);
  static std::vector<double> read(Value constant);
  void replace(OpOperand &operand, ArrayRef<double> values);

  /// Of a linear layer or convolution. Without a bias: zeros.
  static bool canChangeBias(Operation *op);
  static std::vector<double> getBias(Operation *op);
  void setBias(Operation *op, ArrayRef<double> values);

  void eraseReplaced();

private:
  ModuleOp module;
  llvm::SetVector<Operation *> replaced;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_LAYERCONSTANTS_H
