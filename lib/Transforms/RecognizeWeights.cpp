//===- RecognizeWeights.cpp - Weights that are quantized already keep their codes -----------------------------------------===//
#include "LayerSolver.h"
#include "quanta/Solver/Recognize.h"
#include "quanta/Support/Half.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include <cmath>

namespace mlir::quanta {
#define GEN_PASS_DEF_RECOGNIZEWEIGHTS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::RecognizedKind;
using ::quanta::RecognizedWeights;

static StringRef describe(RecognizedKind kind) {
  switch (kind) {
  case RecognizedKind::Binary:
    return "binary";
  case RecognizedKind::Ternary:
    return "ternary";
  case RecognizedKind::PowerOfTwo:
    return "powers of two";
  case RecognizedKind::Uniform:
    return "uniform";
  }
  llvm_unreachable("covered switch");
}

/// Whether kernels decode the codes to exactly the weights: code · scale − scale · zero, with and without a fused product
/// (the compiler's arithmetic is that of the target). −0 may become 0.
static bool decodesTo(::quanta::MatrixView weights, const RecognizedWeights &found, ArrayRef<float> scales,
                      llvm::function_ref<float(size_t)> zeroOf) {
  for (int64_t row = 0; row < found.rows; ++row)
    for (int64_t column = 0; column < found.columns; ++column) {
      size_t group = (found.scaleRows == 1 ? 0 : row) * found.groups + column / found.groupColumns;
      float code = found.codes[row * found.columns + column], scale = scales[group];
      volatile float offset = scale * -zeroOf(group), product = code * scale;
      float weight = weights(row, column);
      if (std::fma(code, scale, offset) != weight || product + offset != weight)
        return false;
    }
  return true;
}

/// Zero points in the middle of the codes need no array: moves the codes there if all of them have room.
static bool centre(RecognizedWeights &found) {
  if (found.bits < 2)
    return false;
  int middle = 1 << (found.bits - 1);
  std::vector<uint8_t> codes(found.codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    int64_t row = i / found.columns, column = i % found.columns;
    int code = found.codes[i] - found.zeros[(found.scaleRows == 1 ? 0 : row) * found.groups + column / found.groupColumns] + middle;
    if (code < 0 || code >= 2 * middle)
      return false;
    codes[i] = code;
  }
  found.codes = std::move(codes);
  found.zeros.assign(found.zeros.size(), middle);
  return true;
}

/// The weights in an encoding that decodes to exactly them, or nothing.
static std::optional<EncodedWeight> express(::quanta::MatrixView weights, RecognizedWeights &found, MLIRContext *context) {
  if (found.kind == RecognizedKind::PowerOfTwo)
    return std::nullopt;
  std::vector<float> scales = found.scales;
  ZeroKind zero = ZeroKind::Symmetric;
  unsigned levels = 0;
  float middle = 0;
  if (found.kind == RecognizedKind::Binary) {
    for (float &scale : scales) // ±scale/2
      scale *= 2;
    middle = 0.5f;
  } else if (found.kind == RecognizedKind::Ternary) {
    levels = 3;
    middle = 1;
  } else if (!centre(found)) {
    zero = ZeroKind::Point;
  }
  bool uniform = found.kind == RecognizedKind::Uniform;
  if (!decodesTo(weights, found, scales, [&](size_t group) { return uniform ? found.zeros[group] : middle; }))
    return std::nullopt;

  // One scale for all rows of a range of columns is stored for each of them.
  std::vector<uint8_t> zeros = found.zeros;
  if (found.scaleRows == 1 && found.groups > 1)
    for (int64_t row = 1; row < found.rows; ++row) {
      scales.insert(scales.end(), scales.begin(), scales.begin() + found.groups);
      if (uniform)
        zeros.insert(zeros.end(), zeros.begin(), zeros.begin() + found.groups);
    }
  int64_t group = found.groups > 1 ? found.groupColumns : found.scaleRows == 1 ? UniformAttr::kTensor : UniformAttr::kRow;
  bool half = llvm::all_of(scales, [](float scale) { return ::quanta::halfToFloat(::quanta::floatToHalf(scale)) == scale; });
  Type scaleType = half ? Type(Float16Type::get(context)) : Type(Float32Type::get(context));
  EncodedWeight encoded;
  encoded.encoding = UniformAttr::get(context, levels ? 2 : found.bits, group, zero, scaleType, levels);
  encoded.integers = {{"codes", std::move(found.codes)}, {"zeros", std::move(zeros)}};
  encoded.floats = {{"scales", std::move(scales)}};
  return encoded;
}

namespace {
struct RecognizeWeights : public mlir::quanta::impl::RecognizeWeightsBase<RecognizeWeights> {
  void runOnOperation() override {
    llvm::MapVector<Operation *, SmallVector<OpOperand *>> weights;
    getOperation().walk([&](Operation *op) {
      if (!isa<LinearOp, Conv2DOp>(op))
        return;
      auto constant = op->getOperand(1).getDefiningOp<arith::ConstantOp>();
      if (constant && cast<RankedTensorType>(constant.getType()).getElementType().isF32())
        weights[constant].push_back(&op->getOpOperand(1));
    });
    SmallVector<Operation *> replaced;
    for (auto &[constant, uses] : weights)
      if (recognize(cast<arith::ConstantOp>(constant), uses))
        replaced.push_back(constant);
    if (replaced.empty())
      return markAllAnalysesPreserved();
    eraseUnusedConstants(getOperation(), replaced);
    std::string text;
    for (auto &[kind, count] : counts)
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + kind.str();
    emitRemark(UnknownLoc::get(&getContext())) << "weights that are quantized already keep their codes: " << text;
  }

private:
  bool recognize(arith::ConstantOp constant, ArrayRef<OpOperand *> uses) {
    SmallVector<float> storage;
    auto type = cast<RankedTensorType>(constant.getType());
    std::optional<ArrayRef<float>> values = getFloats(constant.getValue(), storage);
    if (!values || static_cast<int64_t>(values->size()) != type.getNumElements())
      return false;
    auto [rows, columns] = getMatrixShape(type.getShape());
    ::quanta::MatrixView matrix(values->data(), rows, columns);
    std::optional<RecognizedWeights> found = ::quanta::recognizeWeights(matrix);
    if (!found)
      return false;
    Operation *layer = uses.front()->getOwner();
    std::string name = getNodeName(constant.getLoc());
    if (name.empty())
      name = getNodeName(layer->getLoc());
    StringRef kind = describe(found->kind);
    std::optional<EncodedWeight> encoded = express(matrix, *found, &getContext());
    if (!encoded && found->kind == RecognizedKind::PowerOfTwo) {
      // No encoding has exponents; few of them are multiples of the least.
      ::quanta::RecognizeOptions options;
      options.powersOfTwo = false;
      if ((found = ::quanta::recognizeWeights(matrix, options)))
        encoded = express(matrix, *found, &getContext());
    }
    if (!encoded) {
      layer->emitRemark() << "weight '" << name << "' is quantized already (" << kind
                          << "), but no encoding decodes to exactly its values: it stays in float";
      return false;
    }
    Value replacement = createEncodedConstant(constant, name, *encoded);
    for (OpOperand *use : uses) {
      Operation *op = use->getOwner();
      use->set(replacement);
      op->setAttr("quanta.note", StringAttr::get(&getContext(), "quantized already: " + kind));
      op->setAttr("quanta.weight_error", FloatAttr::get(Float64Type::get(&getContext()), 0));
    }
    // An embedding of the same table reads the same codes.
    constant.getResult().replaceUsesWithIf(replacement, [](OpOperand &use) {
      return isa<EmbeddingOp>(use.getOwner()) && use.getOperandNumber() == 0;
    });
    ++counts[kind];
    return true;
  }

  llvm::MapVector<StringRef, int64_t> counts;
};
} // namespace
