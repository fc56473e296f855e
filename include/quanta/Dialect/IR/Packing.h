//===- Packing.h - From the encodings to lib/Format ---------------------------------------------------------------------===//
#ifndef QUANTA_DIALECT_IR_PACKING_H
#define QUANTA_DIALECT_IR_PACKING_H

#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Format/SparseLayout.h"
#include "quanta/Format/TileLayout.h"

namespace mlir::quanta {

/// Nothing if sizes overflow.
inline std::optional<::quanta::TileShape> getTileShape(const CodeSpec &spec) {
  return ::quanta::TileShape::get({spec.rows, spec.columns, spec.bits, spec.group, spec.levels});
}

} // namespace mlir::quanta

#endif
