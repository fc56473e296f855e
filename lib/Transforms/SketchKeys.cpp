//===- SketchKeys.cpp - Keys as signs of projections ----------------------------------------------------------------------===//
//
// A. Zandieh et al., QJL: 1-Bit Quantized JL Transform for KV Cache Quantization with Zero Overhead, 2024.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "SketchKeys.h"
#include "quanta/Solver/Sketch.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

/// x · (S / √(copies · D))ᵀ, for x [B, H, S, D].
static Value project(ImplicitLocOpBuilder &b, Value x, DenseElementsAttr projection) {
  auto from = cast<RankedTensorType>(x.getType());
  SmallVector<int64_t> shape(from.getShape());
  shape[3] = projection.getType().getShape()[2];
  Value matrix = arith::ConstantOp::create(b, projection);
  return MatmulOp::create(b, RankedTensorType::get(shape, from.getElementType()), x, matrix, b.getUnitAttr());
}

static RankedTensorType withChannels(Type type, int64_t channels) {
  auto from = cast<RankedTensorType>(type);
  SmallVector<int64_t> shape(from.getShape());
  shape[3] = channels;
  return RankedTensorType::get(shape, from.getElementType());
}

LogicalResult mlir::quanta::sketchKeys(CacheOp cache, ArrayRef<CacheAppendOp> appends, ArrayRef<CacheReadOp> reads, int64_t copies,
                                       uint64_t seed) {
  int64_t channels = cache.getTensorType().getDimSize(3), rows = copies * channels;
  for (CacheReadOp read : reads)
    for (Operation *user : read->getUsers())
      if (!isa<AttentionOp>(user))
        return cache.emitError("keys that are rotated when they are read cannot be sketched; store them rotated");
  std::vector<float> values;
  for (double value : ::quanta::makeSketch(channels, copies, seed))
    values.push_back(static_cast<float>(value / std::sqrt(static_cast<double>(rows))));
  auto type = RankedTensorType::get({1, 1, rows, channels}, Float32Type::get(cache.getContext()));
  auto projection = DenseElementsAttr::get(type, ArrayRef(values));
  cache.setType(withChannels(cache.getType(), rows));
  for (CacheAppendOp append : appends) {
    ImplicitLocOpBuilder b(append.getLoc(), append);
    append.getValuesMutable().assign(project(b, append.getValues(), projection));
  }
  for (CacheReadOp read : reads) {
    read.getResult().setType(withChannels(read.getType(), rows));
    for (Operation *user : read->getUsers()) {
      auto attention = cast<AttentionOp>(user);
      ImplicitLocOpBuilder b(attention.getLoc(), attention);
      attention.getQueryMutable().assign(project(b, attention.getQuery(), projection));
    }
  }
  return success();
}
