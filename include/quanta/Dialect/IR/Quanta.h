//===- Quanta.h - The quanta dialect: encodings and ops ---------------------------------------------------------------===//
#ifndef QUANTA_DIALECT_IR_QUANTA_H
#define QUANTA_DIALECT_IR_QUANTA_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "quanta/Dialect/IR/QuantaEnums.h.inc"

namespace mlir::quanta {
/// One stored part of an encoded value.
struct Component {
  std::string name;
  SmallVector<int64_t> shape; ///< may hold ShapedType::kDynamic
  Type elementType;
};

/// The name by which a user knows what is at a location: the node's or the weight's in the model, or an empty string.
std::string getNodeName(Location loc);

/// Rows (dimension 0) and columns (product of the others) by which encodings read a tensor; dynamic propagates.
std::pair<int64_t, int64_t> getMatrixShape(ArrayRef<int64_t> shape);
} // namespace mlir::quanta

#include "quanta/Dialect/IR/QuantaInterfaces.h.inc"

#include "quanta/Dialect/IR/QuantaDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "quanta/Dialect/IR/QuantaAttrs.h.inc"

namespace mlir::quanta {
/// The encoding of a type, or null.
EncodingAttrInterface getEncoding(Type type);
/// The same tensor without an encoding.
RankedTensorType dropEncoding(RankedTensorType type);

namespace detail {
LogicalResult verifyEncodings(Operation *op);
} // namespace detail

/// Ops with this trait re-verify the encodings of their operands and results.
template <typename ConcreteType>
class VerifiesEncodings : public OpTrait::TraitBase<ConcreteType, VerifiesEncodings> {
public:
  static LogicalResult verifyTrait(Operation *op) { return detail::verifyEncodings(op); }
};
} // namespace mlir::quanta

#define GET_OP_CLASSES
#include "quanta/Dialect/IR/QuantaOps.h.inc"

#endif
