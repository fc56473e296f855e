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
#include <optional>

namespace mlir::quanta {
/// One stored part of an encoded value.
struct Component {
  std::string name;
  SmallVector<int64_t> shape; ///< may hold ShapedType::kDynamic
  Type elementType;
};

/// What packing codes needs to know: quanta::TileSpec, whose header would bring another namespace quanta with it.
struct CodeSpec {
  int64_t rows, columns;
  unsigned bits;
  int64_t group;
  unsigned levels;
};

/// One array of a value as kernels read it, and how it comes from the logical components.
struct PackedComponent : Component {
  enum class Kind {
    Tiles,   ///< a matrix [rows or 1, columns] in tiles: [tile][column][16 rows]
    Codes,   ///< codes in words by `spec`; those where `mask` is set are zero
    Order,   ///< of the columns: those where `mask` is set, then the others; i32
    Entries, ///< codes where `mask` is set, by quanta/Format/SparseLayout.h; their number is dynamic in `shape`
    Offsets, ///< of the lists of entries
  };
  Kind kind = Kind::Tiles;
  std::string source = {}, mask = {}; ///< names of logical components; no source: the value itself is a float matrix
  CodeSpec spec = {};                 ///< of Codes
  int64_t blockColumns = 0;           ///< of Entries and Offsets
  int64_t count = 0;                  ///< ones that the mask of Order or Entries has
  int64_t most = 0;                   ///< of Tiles of bytes: the greatest that may be there; 0: any
};

/// The bytes of a dense or resource attribute, splats expanded into `storage`; nothing if they are missing.
std::optional<ArrayRef<char>> getRawData(Attribute attr, SmallVectorImpl<char> &storage);

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
/// How the codes of an encoding with one code a weight, its component `codes`, are packed; nothing for other encodings.
std::optional<CodeSpec> getCodeSpec(Attribute encoding, ArrayRef<int64_t> shape);
/// Decoding codes that are packed by `spec` may begin at multiples of this column.
int64_t getLeafStep(const CodeSpec &spec);
/// Columns of a block of entries (quanta/Format/SparseLayout.h) of a split by mask: the most such that a block lies within
/// a group of the salient weights' scales, and begins where decoding of the other weights may begin.
int64_t getSparseBlockColumns(SplitAttr split, ArrayRef<int64_t> shape);

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

/// What attention reads a cache for.
enum class CacheRole {
  Key,
  Value,
  Angle, ///< cosines or sines of the angles by which attention rotates keys when it reads them
};
} // namespace mlir::quanta

#define GET_OP_CLASSES
#include "quanta/Dialect/IR/QuantaOps.h.inc"

#endif
