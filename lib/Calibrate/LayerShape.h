//===- LayerShape.h - What a layer multiplies its weights with ----------------------------------------------------------===//
#ifndef QUANTA_LIB_CALIBRATE_LAYERSHAPE_H
#define QUANTA_LIB_CALIBRATE_LAYERSHAPE_H

#include "quanta/Calibrate/MomentSums.h"
#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

struct LayerShape {
  int64_t channels = 0, blocks = 1;
  std::optional<::quanta::Window> window;

  explicit LayerShape(Operation *layer);
  /// Whether layers with the same input share their moments.
  bool operator==(const LayerShape &other) const;
  uint64_t getMomentBytes(bool cross) const { return ::quanta::MomentSums::getBytes(channels, blocks, cross); }
};

/// The node's name, for messages.
std::string getLayerName(Operation *layer);

} // namespace mlir::quanta

#endif // QUANTA_LIB_CALIBRATE_LAYERSHAPE_H
