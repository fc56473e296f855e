//===- LowRankBranch.cpp - A thin product beside a quantized weight -------------------------------------------------------===//
//
// W·x ≈ Q·x + A·(B·x) is one matrix [Q | A] times one vector [x; B·x]. So the layer stays one op with one weight, of which
// a solver for columns of several formats makes Q and A together, and one kernel reads each stored bit once.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Solver/Gptq.h"
#include "quanta/Solver/LowRank.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_ADDLOWRANK
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::LayerMoments;
using ::quanta::MatrixView;
using ::quanta::MatrixViewF64;
using ::quanta::RowGrids;
using ::quanta::UniformOptions;

static std::vector<float> toFloats(const std::vector<double> &values) { return {values.begin(), values.end()}; }

/// M·S·Mᵀ for M = [I; B], S [n, n]: moments of [x; B·x] from those of x.
static std::vector<double> extendMoments(const std::vector<double> &moments, const std::vector<double> &right, int64_t n, int64_t rank) {
  int64_t all = n + rank;
  std::vector<double> result(all * all);
  auto at = [&](int64_t i, int64_t j) -> double & { return result[i * all + j]; };
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      at(i, j) = moments[i * n + j];
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t j = 0; j < n; ++j)
        at(i, n + r) += moments[i * n + j] * right[r * n + j];
  }
  for (int64_t r = 0; r < rank; ++r)
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < all; ++j)
        at(n + r, j) += right[r * n + i] * at(i, j);
  return result;
}

namespace {
struct AddLowRank : public mlir::quanta::impl::AddLowRankBase<AddLowRank> {
  using AddLowRankBase::AddLowRankBase;

  void runOnOperation() override {
    if (rank < 1 || bits < 1 || bits > 8 || factorBits < 2 || factorBits > 8 || iterations < 1 || iterations > 100) {
      getOperation().emitError() << "expected a rank of at least 1, 1 to 8 bits, 2 to 8 bits of factors and 1 to 100 iterations but got "
                                 << int64_t(rank) << ", " << unsigned(bits) << ", " << unsigned(factorBits) << " and " << int(iterations);
      return signalPassFailure();
    }
    CalibratedLayers layers(&getContext());
    SmallVector<Operation *> replaced;
    auto visit = [&](const SolverLayer &layer) {
      int64_t most = std::min(layer.weights.rows(), layer.weights.columns());
      Operation *constant = layer.op->getOperand(1).getDefiningOp();
      if (!isa<LinearOp>(layer.op) || rank >= most || !constant->hasOneUse()) {
        layer.op->emitRemark() << "has no low-rank branch: it must be a linear layer with a weight of its own and more than " << int64_t(rank)
                               << " rows and columns";
        return success();
      }
      replaced.push_back(constant);
      return add(layer, layers);
    };
    if (failed(visitSelectedLayers(getOperation(), true, visit)))
      return signalPassFailure();
    eraseUnusedConstants(getOperation(), replaced);
  }

private:
  UniformOptions factorFormat() const {
    UniformOptions format;
    format.bits = factorBits;
    format.zero = ::quanta::UniformZero::Symmetric;
    format.group = 0;
    return format;
  }

  LogicalResult add(const SolverLayer &layer, CalibratedLayers &layers) {
    auto loaded = layers.load(layer);
    if (failed(loaded))
      return failure();
    const LayerStatistics &known = **loaded;
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
    std::vector<double> weights(layer.weights.row(0), layer.weights.row(0) + rows * columns), targets = weights;
    if (!known.moments.cross.empty())
      targets = correctTargets({weights.data(), rows, columns}, known.fit(0), known.cross(0), known.factors[0]);

    ::quanta::ResidualOptions options;
    options.rank = rank;
    options.iterations = iterations;
    options.base = [&](MatrixViewF64 matrix, MatrixViewF64) {
      UniformOptions format;
      format.bits = bits;
      format.zero = ::quanta::UniformZero::Offset;
      RowGrids grids = RowGrids::create(rows, columns, {format}, std::vector<uint16_t>(columns, 0));
      solveGrids(matrix, known.factors[0], grids);
      return decodeF64(grids);
    };
    std::vector<::quanta::UniformResult> encoded; // B and A of each iteration
    options.factors = [&](MatrixViewF64 matrix, MatrixViewF64 hessian) {
      encoded.push_back(solveRows(matrix, factorHessian(hessian, known.factorOptions()), factorFormat()));
      return decodeF64(encoded.back());
    };
    ::quanta::ResidualResult solved = factorResidual({targets.data(), rows, columns},
                                                     ::quanta::whitenTriangular(known.factors[0].hessianView()), options);
    size_t best = llvm::min_element(solved.errors) - solved.errors.begin();
    return rewrite(layer, known, solved.factors, encoded[2 * best], weights);
  }

  /// x → [x; B·x], W → [W − A·B | A] with A marked for more bits, moments those of the new input.
  LogicalResult rewrite(const SolverLayer &layer, const LayerStatistics &known, const ::quanta::LowRank &factors,
                        const ::quanta::UniformResult &encoded, const std::vector<double> &weights) {
    auto op = cast<LinearOp>(layer.op);
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns(), all = columns + rank;
    // B is encoded here, A with the rest of the weight.
    std::vector<float> right = toFloats(factors.right);
    std::vector<double> product = factors.product();
    std::vector<float> joined;
    std::vector<uint8_t> mask(all, 0);
    std::fill(mask.begin() + columns, mask.end(), 1);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j)
        joined.push_back(static_cast<float>(weights[i * columns + j] - product[i * columns + j]));
      joined.insert(joined.end(), factors.left.begin() + i * rank, factors.left.begin() + (i + 1) * rank);
    }

    OpBuilder builder(op);
    auto inputType = cast<RankedTensorType>(op.getInput().getType());
    auto makeConstant = [&](StringRef suffix, int64_t n, int64_t k, ArrayRef<float> values) -> Value {
      std::string name = layer.name + suffix.str();
      auto type = RankedTensorType::get({n, k}, builder.getF32Type());
      return arith::ConstantOp::create(builder, NameLoc::get(builder.getStringAttr(name), op.getWeight().getLoc()), type,
                                       makeFloatResource(name, type, values));
    };
    Value plain = makeConstant(".B", rank, columns, right);
    EncodedWeight weight;
    encodeUniform(encoded, &getContext(), weight);
    Value inner = createEncodedConstant(plain, layer.name + ".B", weight);
    eraseUnusedConstants(getOperation(), {plain.getDefiningOp()});
    SmallVector<int64_t> shape(inputType.getShape());
    shape.back() = rank;
    Location location = NameLoc::get(builder.getStringAttr(getNodeName(op.getLoc()) + ".B"), op.getLoc());
    Value branch = LinearOp::create(builder, location, inputType.clone(shape), op.getInput(), inner, Value());
    shape.back() = all;
    Value input = tensor::ConcatOp::create(builder, location, inputType.clone(shape), inputType.getRank() - 1, ValueRange{op.getInput(), branch});
    Value matrix = makeConstant("", rows, all, joined);
    op.getInputMutable().assign(input);
    op.getWeightMutable().assign(matrix);
    auto maskType = RankedTensorType::get({all}, builder.getI8Type());
    op->setAttr("quanta.mask", builder.getDictionaryAttr(builder.getNamedAttr("values", makeByteResource(layer.name + ".branch", maskType, mask))));
    op->setAttr("quanta.note", builder.getStringAttr("low-rank branch, rank " + Twine(rank)));
    return saveStatistics(op, known.moments, factors.right);
  }

  /// Beside those of the layer's input, whose name it has and more.
  LogicalResult saveStatistics(LinearOp op, const LayerMoments &moments, const std::vector<double> &right) {
    int64_t n = moments.channels;
    LayerMoments result = moments;
    result.channels = n + rank;
    result.fit = extendMoments(moments.fit, right, n, rank);
    result.heldOut = extendMoments(moments.heldOut, right, n, rank);
    if (!moments.cross.empty())
      result.cross = extendMoments(moments.cross, right, n, rank);
    // Of B·x only the squares are known; by Jensen's inequality their root is no less than the mean, and no solver needs more.
    for (int64_t i = n; i < n + rank; ++i) {
      result.absMean.push_back(static_cast<float>(std::sqrt(std::max(0.0, result.fit[i * (n + rank) + i]))));
      result.absMax.push_back(result.absMean.back());
    }
    std::string name = getNodeName(op.getLoc());
    llvm::replace(name, '/', '_');
    std::string path = op->getAttrOfType<StringAttr>("quanta.statistics").str() + "." + name + ".branch";
    if (llvm::Error error = ::quanta::saveMoments(result, path))
      return op.emitOpError() << toString(std::move(error));
    op->setAttr("quanta.statistics", StringAttr::get(&getContext(), path));
    return success();
  }
};
} // namespace
