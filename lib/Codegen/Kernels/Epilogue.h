//===- Epilogue.h - What happens to a kernel's sums before they are stored ------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_EPILOGUE_H
#define QUANTA_LIB_CODEGEN_KERNELS_EPILOGUE_H

#include "Kernels.h"
#include "Signs.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// How an epilogue's operand follows the kernel's result: element by element, or one for each output channel.
enum class EpilogueOperand : int64_t { Element, Channel };

/// Whether quanta-fuse-epilogues may give kernels of this family and config an epilogue; whether they can store codes, and signs.
bool hasEpilogue(StringRef family, DictionaryAttr config);
bool storesCodes(StringRef family, DictionaryAttr config);
bool storesSigns(StringRef family);

/// The epilogue of a kernel, if it has one. Its config has then `epilogue`, a function of the sum and its operands, and `operands`,
/// how each follows the result; with `result_encoding`, an #quanta.affine, codes of the result are stored: the last of the
/// outputs, the only one unless the floats are needed, too. With `result_signs`, the sign of zero, codes are planes of signs (Signs.h).
/// The operands follow the kernel's own inputs; for several segments, so do
/// 1 / scale and the zero point of each column.
class Epilogue {
public:
  Epilogue(KernelBuilder &b, const KernelArgs &args);

  /// Whether sums are stored as they are.
  bool isEmpty() const { return !args.epilogue && !codes; }

  ValueRange inputs;   ///< the kernel's own
  Value floats, codes; ///< where 16 lanes are stored; null if they are not

  /// 16 lanes of an operand.
  using Load = function_ref<Value(Value operand, EpilogueOperand kind)>;
  Value apply(Value lanes, Load load) const;
  /// To lanes of a result [N, O, pixels] that is stored already, at {n, channel, pixel}.
  void applyTo(Value result, ValueRange place, Value lanes) const;
  /// Lanes of an operand of such a result.
  Value loadPixels(Value operand, EpilogueOperand kind, ValueRange place, Value lanes) const;
  /// Asks for the lines of what lies there, long before they are finished: operands, and floats to store.
  void prefetchPixels(ValueRange place) const;
  /// Their codes, a byte each.
  Value encode(Value lanes, Load load) const;
  /// Or their signs.
  SignLanes signs(Value lanes) const;
  /// The code of zero.
  int8_t zeroCode() const;

private:
  Value withPixels(Value image) const;

  KernelBuilder &b;
  const KernelArgs &args;
  AffineAttr encoding;
  ValueRange operands, parameters; ///< parameters: of each column's code
};

} // namespace mlir::quanta
#endif
