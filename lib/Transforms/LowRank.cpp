//===- LowRank.cpp - Weights become products of two thin matrices ---------------------------------------------------------===//
#include "CalibratedLayer.h"
#include "quanta/Allocate/Ranks.h"
#include "quanta/Solver/Gptq.h"
#include "quanta/Solver/LowRank.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/Format.h"
#include <chrono>

namespace mlir::quanta {
#define GEN_PASS_DEF_LOWRANK
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::MatrixViewF64;

namespace {
struct LowRankPass : public mlir::quanta::impl::LowRankBase<LowRankPass> {
  using LowRankBase::LowRankBase;

  void runOnOperation() override {
    if (failed(checkOptions()))
      return signalPassFailure();
    CalibratedLayers calibrated(&getContext());
    statistics = &calibrated;
    factors.clear();
    if (failed(visitSelectedLayers(getOperation(), method != "svd", [&](const SolverLayer &layer) { return visit(layer); })))
      return signalPassFailure();
    eraseUnusedConstants(getOperation(), llvm::to_vector(llvm::make_first_range(factors)));
  }

private:
  /// What a weight became, and how near that is.
  struct Factors {
    Value left, right; ///< A [rows, rank], B [rank, columns]
    DictionaryAttr errors;
    std::string remark;
  };

  LogicalResult checkOptions() {
    InFlightDiagnostic error = getOperation().emitError();
    if (!llvm::is_contained({"svd", "asvd", "whitened"}, StringRef(method)))
      return error << "expected method 'svd', 'asvd' or 'whitened' but got '" << StringRef(method) << "'";
    if (statistic != "mean" && statistic != "max")
      return error << "expected statistic 'mean' or 'max' but got '" << StringRef(statistic) << "'";
    if (!(ratio > 0 && ratio < 1) || rank < 0 || align < 1 || !(alpha >= 0 && alpha <= 4))
      return error << "expected a ratio between 0 and 1, a rank of 0 or more, align of 1 or more and alpha from 0 to 4 but got "
                   << double(ratio) << ", " << int64_t(rank) << ", " << int64_t(align) << " and " << double(alpha);
    if (factorBits > 8 || factorBits == 1)
      return error << "expected factor-bits of 0 or from 2 to 8 but got " << unsigned(factorBits);
    error.abandon();
    return success();
  }

  LogicalResult visit(const SolverLayer &layer) {
    auto linear = dyn_cast<LinearOp>(layer.op);
    if (!linear)
      return leave(layer, "only linear layers have factors");
    Operation *constant = linear.getWeight().getDefiningOp();
    if (!factors.contains(constant)) {
      int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
      auto given = linear->getAttrOfType<IntegerAttr>("quanta.rank");
      int64_t chosen = given ? given.getInt() : rank ? int64_t(rank) : ::quanta::rankOfRatio(rows, columns, ratio, align);
      if (chosen == 0 || !::quanta::rankPays(rows, columns, chosen))
        return leave(layer, "factors of rank " + Twine(chosen) + " would be no smaller, or nothing");
      if (failed(factor(layer, chosen, factors[constant])))
        return failure();
    }
    replace(linear, factors[constant]);
    return success();
  }

  LogicalResult leave(const SolverLayer &layer, const Twine &why) {
    layer.op->removeAttr("quanta.selected");
    layer.op->setAttr("quanta.note", StringAttr::get(&getContext(), "in float: " + why));
    return success();
  }

  LogicalResult factor(const SolverLayer &layer, int64_t chosen, Factors &result) {
    auto begin = std::chrono::steady_clock::now();
    int64_t rows = layer.weights.rows(), columns = layer.weights.columns();
    std::vector<double> original(layer.weights.row(0), layer.weights.row(0) + rows * columns), targets = original;
    ::quanta::Whitening whitening = ::quanta::whitenNothing(columns);
    std::shared_ptr<const LayerStatistics> known;
    if (method != "svd") {
      auto loaded = statistics->load(layer);
      if (failed(loaded))
        return failure();
      known = *loaded;
      if (!known->moments.cross.empty())
        targets = correctTargets({original.data(), rows, columns}, known->fit(0), known->cross(0), known->factors[0]);
      whitening = method == "whitened"
                      ? ::quanta::whitenTriangular(known->factors[0].hessianView())
                      : ::quanta::whitenChannels(statistic == "max" ? known->moments.absMax : known->moments.absMean, alpha);
    }
    ::quanta::LowRank solved = factorLowRank({targets.data(), rows, columns}, whitening, chosen);
    std::vector<::quanta::UniformResult> encoded;
    if (factorBits)
      encoded = quantize({targets.data(), rows, columns}, known.get(), solved);
    // B lies beside the layer that it makes, where a calibration that resumes puts it, too.
    result.left = makeConstant(layer, ".A", {rows, chosen}, solved.left, layer.op->getOperand(1).getDefiningOp());
    result.right = makeConstant(layer, ".B", {chosen, columns}, solved.right, layer.op);
    if (factorBits) {
      result.left = encode(result.left, layer.name + ".A", encoded[1]);
      result.right = encode(result.right, layer.name + ".B", encoded[0]);
    }
    describe(layer, solved, targets, known.get(), result);
    if (known) {
      NamedAttrList errors(result.errors);
      double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      errors.set("quanta.seconds", Builder(&getContext()).getF64FloatAttr(seconds));
      result.errors = errors.getDictionary(&getContext());
    }
    return success();
  }

  /// B and then A, each for the second moments of its input.
  std::vector<::quanta::UniformResult> quantize(MatrixViewF64 targets, const LayerStatistics *known, ::quanta::LowRank &factors) {
    ::quanta::UniformOptions format;
    format.bits = factorBits;
    format.zero = ::quanta::UniformZero::Offset;
    std::vector<double> none = secondMoments(::quanta::whitenNothing(factors.columns));
    MatrixViewF64 hessian = known ? known->factors[0].hessianView() : MatrixViewF64(none.data(), factors.columns, factors.columns);
    ::quanta::FactorOptions options = known ? known->factorOptions() : ::quanta::FactorOptions();
    std::vector<::quanta::UniformResult> results;
    auto solve = [&](MatrixViewF64 matrix, MatrixViewF64 moments) {
      results.push_back(solveRows(matrix, factorHessian(moments, options), format));
      return decodeF64(results.back());
    };
    quantizeFactors(targets, hessian, solve, factors);
    return results;
  }

  Value encode(Value constant, StringRef name, const ::quanta::UniformResult &result) {
    EncodedWeight weight;
    encodeUniform(result, &getContext(), weight);
    Value encoded = createEncodedConstant(constant, name, weight);
    eraseUnusedConstants(getOperation(), {constant.getDefiningOp()});
    return encoded;
  }

  /// Rounds the values to f32, for the constant and in place.
  Value makeConstant(const SolverLayer &layer, StringRef suffix, ArrayRef<int64_t> shape, std::vector<double> &values,
                     Operation *before) {
    std::vector<float> floats(values.begin(), values.end());
    values.assign(floats.begin(), floats.end());
    Value weight = layer.op->getOperand(1);
    OpBuilder builder(before);
    std::string name = layer.name + suffix.str();
    auto type = RankedTensorType::get(shape, builder.getF32Type());
    return arith::ConstantOp::create(builder, NameLoc::get(builder.getStringAttr(name), weight.getLoc()), type,
                                     makeFloatResource(name, type, floats));
  }

  void describe(const SolverLayer &layer, const ::quanta::LowRank &solved, const std::vector<double> &targets,
                const LayerStatistics *known, Factors &result) {
    int64_t rows = solved.rows, columns = solved.columns;
    std::vector<double> product = solved.product(), zeros(product.size());
    Builder builder(&getContext());
    NamedAttrList errors;
    llvm::raw_string_ostream remark(result.remark);
    remark << "rank " << solved.rank << " of " << std::min(rows, columns) << ", "
           << llvm::format("%.3g", 100.0 * solved.rank * (rows + columns) / (double(rows) * columns)) << " % of the weights";
    auto set = [&](StringRef name, StringRef where, double error, double whole) {
      double relative = whole > 0 ? std::max(error / whole, 0.0) : 0;
      errors.set(name, builder.getF64FloatAttr(relative));
      remark << "; error " << llvm::format("%.3g", relative) << where;
    };
    MatrixViewF64 target(targets.data(), rows, columns), chosen(product.data(), rows, columns), zero(zeros.data(), rows, columns);
    auto measure = [&](StringRef name, StringRef where, MatrixViewF64 hessian) {
      set(name, where, hessianError(target, chosen, hessian), hessianError(target, zero, hessian));
    };
    double error = 0, whole = 0;
    for (int64_t i = 0; i < rows * columns; ++i) {
      double weight = layer.weights.row(0)[i];
      error += (weight - product[i]) * (weight - product[i]);
      whole += weight * weight;
    }
    set("quanta.weight_error", " in the weights", error, whole);
    if (known)
      measure("quanta.error_calibration", " in calibration", known->fit(0));
    if (known && known->moments.heldOutRows)
      measure("quanta.error_held_out", " on held-out data", known->heldOut(0));
    result.errors = errors.getDictionary(&getContext());
  }

  /// The op stays and becomes the second layer: whoever holds it still knows the layer's result.
  void replace(LinearOp op, const Factors &result) {
    OpBuilder builder(op);
    auto rightType = cast<RankedTensorType>(result.right.getType()), inputType = cast<RankedTensorType>(op.getInput().getType());
    SmallVector<int64_t> shape(inputType.getShape());
    shape.back() = rightType.getDimSize(0);
    Location location = NameLoc::get(builder.getStringAttr(getNodeName(op.getLoc()) + ".B"), op.getLoc());
    Value inner = LinearOp::create(builder, location, inputType.clone(shape), op.getInput(), result.right, Value());
    op.getInputMutable().assign(inner);
    op.getWeightMutable().assign(result.left);
    op->removeAttr("quanta.selected");
    op->removeAttr("quanta.rank");
    op->removeAttr("quanta.statistics"); // of another input
    op->setAttr("quanta.note", builder.getStringAttr("rank " + Twine(shape.back()) + " (" + StringRef(method) + ")" +
                                                     (factorBits ? ", factors of " + std::to_string(factorBits) + " bits" : "")));
    for (NamedAttribute error : result.errors)
      op->setAttr(error.getName(), error.getValue());
    op.emitRemark() << result.remark;
  }

  CalibratedLayers *statistics = nullptr;
  DenseMap<Operation *, Factors> factors; ///< by the constant of the weight
};
} // namespace
