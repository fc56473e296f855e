//===- CalibratedLayer.cpp - Layers with statistics of their inputs -------------------------------------------------------===//
#include "CalibratedLayer.h"
#include "mlir/IR/Threading.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::FactorStatus;
using ::quanta::MatrixViewF64;

::quanta::MatrixViewF64 LayerStatistics::view(const std::vector<double> &data, int64_t block) const {
  int64_t channels = moments.channels;
  return data.empty() ? MatrixViewF64() : MatrixViewF64(data.data() + block * channels * channels, channels, channels);
}

::quanta::FactorOptions LayerStatistics::factorOptions() const {
  ::quanta::FactorOptions options;
  options.damping = damping;
  options.actOrder = true;
  return options;
}

FailureOr<std::shared_ptr<const LayerStatistics>> CalibratedLayers::load(const SolverLayer &layer) {
  auto name = layer.op->getAttrOfType<StringAttr>("quanta.statistics");
  if (!name)
    return layer.op->emitOpError() << "has no statistics of its input; run this pass in a quanta-calibrate pipeline";
  if (!last || path != name) {
    llvm::Expected<::quanta::LayerMoments> moments = ::quanta::loadMoments(name);
    if (!moments)
      return layer.op->emitOpError() << toString(moments.takeError());
    auto statistics = std::make_shared<LayerStatistics>();
    statistics->moments = std::move(*moments);
    const ::quanta::LayerMoments &m = statistics->moments;
    statistics->damping = std::clamp(1.2 * m.channels / std::max<double>(m.fitRows, 1), 0.01, 0.3);
    statistics->factors.resize(m.blocks);
    parallelFor(context, 0, m.blocks, [&](size_t block) {
      statistics->factors[block] = factorHessian(statistics->fit(block), statistics->factorOptions());
    });
    last = std::move(statistics);
    path = name.str();
  }
  const ::quanta::LayerMoments &moments = last->moments;
  if (moments.channels != layer.weights.columns() || moments.blocks != layer.blocks || layer.weights.rows() % layer.blocks)
    return layer.op->emitOpError() << "statistics '" << path << "' are of " << moments.blocks << " times " << moments.channels
                                   << " inputs, but the weight has " << layer.blocks << " times " << layer.weights.columns();
  if (!moments.fitRows)
    return layer.op->emitOpError() << "no calibration data reached the layer; calibrate with data that does, or keep it in "
                                      "float (keep=REGEX)";
  return last;
}

namespace {
/// Few enough rows that their errors stay in the cache and that all threads have work; enough for matrix products.
constexpr int64_t kSliceRows = 32;

/// Relative errors of rows that belong together: sums of numerators and denominators.
struct ErrorSums {
  double fit = 0, fitWhole = 0, heldOut = 0, heldOutWhole = 0, weight = 0, weightWhole = 0;
  void operator+=(const ErrorSums &other) {
    fit += other.fit, fitWhole += other.fitWhole, heldOut += other.heldOut, heldOutWhole += other.heldOutWhole;
    weight += other.weight, weightWhole += other.weightWhole;
  }
};
} // namespace

static bool isReplaced(const ::quanta::HessianFactor &factor) {
  return factor.status == FactorStatus::Diagonal || factor.status == FactorStatus::NonFinite;
}

static int64_t slicesOfBlock(const SolverLayer &layer) {
  return llvm::divideCeil(layer.weights.rows() / layer.blocks, kSliceRows);
}

size_t CalibratedLayers::countSlices(const SolverLayer &layer) { return slicesOfBlock(layer) * layer.blocks; }

void CalibratedLayers::solveRows(
    const SolverLayer &layer, const LayerStatistics &statistics, EncodedWeight &result,
    function_ref<void(const RowSlice &slice, size_t index, ::quanta::MutableMatrixViewF64 decoded)> solve) {
  int64_t columns = layer.weights.columns(), blockRows = layer.weights.rows() / layer.blocks, perBlock = slicesOfBlock(layer);
  std::vector<ErrorSums> sums(countSlices(layer));
  parallelFor(context, 0, sums.size(), [&](size_t index) {
    RowSlice slice;
    slice.block = index / perBlock;
    int64_t first = index % perBlock * kSliceRows, rows = std::min(kSliceRows, blockRows - first);
    slice.begin = slice.block * blockRows + first;
    ::quanta::MatrixView weights = layer.weights.block(slice.begin, 0, rows, columns);
    std::vector<double> original(weights.row(0), weights.row(0) + rows * columns), targets = original, decoded(targets.size());
    MatrixViewF64 fit = statistics.fit(slice.block), heldOut = statistics.heldOut(slice.block);
    if (!statistics.moments.cross.empty())
      targets = correctTargets({original.data(), rows, columns}, fit, statistics.cross(slice.block),
                               statistics.factors[slice.block]);
    slice.targets = {targets.data(), rows, columns};
    solve(slice, index, {decoded.data(), rows, columns});

    std::vector<double> zeros(decoded.size());
    MatrixViewF64 chosen(decoded.data(), rows, columns), zero(zeros.data(), rows, columns);
    ErrorSums &sum = sums[index];
    const ::quanta::HessianFactor &factor = statistics.factors[slice.block];
    MatrixViewF64 measure = isReplaced(factor) ? factor.hessianView() : fit; // what could not be used measures nothing
    sum.fit = hessianError(slice.targets, chosen, measure);
    sum.fitWhole = hessianError(slice.targets, zero, measure);
    if (statistics.moments.heldOutRows) {
      sum.heldOut = hessianError(slice.targets, chosen, heldOut);
      sum.heldOutWhole = hessianError(slice.targets, zero, heldOut);
    }
    for (size_t i = 0; i < decoded.size(); ++i) {
      sum.weight += (original[i] - decoded[i]) * (original[i] - decoded[i]);
      sum.weightWhole += original[i] * original[i];
    }
  });
  ErrorSums total;
  for (const ErrorSums &sum : sums)
    total += sum;
  // Rounding can leave a difference of nothing slightly below zero.
  auto divide = [](double part, double whole) { return whole > 0 ? std::max(part / whole, 0.0) : 0; };
  result.errorCalibration = divide(total.fit, total.fitWhole);
  if (statistics.moments.heldOutRows)
    result.errorHeldOut = divide(total.heldOut, total.heldOutWhole);
  result.weightError = divide(total.weight, total.weightWhole);
}

static std::string print(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3g", value);
  return text;
}

void CalibratedLayers::describe(const LayerStatistics &statistics, EncodedWeight &result) {
  int64_t dead = 0;
  FactorStatus worst = FactorStatus::Damped;
  double mean = 0, damping = 0;
  for (const ::quanta::HessianFactor &factor : statistics.factors) {
    dead += llvm::count(factor.dead, 1);
    worst = std::max(worst, factor.status);
    for (int64_t j = 0; j < factor.columns; ++j)
      mean += statistics.fit(&factor - statistics.factors.data())(j, j) / factor.columns;
    damping += isReplaced(factor) ? 0 : factor.damping;
  }
  auto note = [&](const Twine &text) {
    if (!result.note.empty())
      result.note += "; ";
    result.note += text.str();
    result.remark += "; " + text.str();
  };
  result.remark += llvm::formatv("; {0} rows of data, damping {1}", statistics.moments.fitRows,
                                 print(mean > 0 ? damping / mean : 0));
  if (worst == FactorStatus::MoreDamping)
    note("the input's moments needed more damping to be positive definite");
  else if (worst == FactorStatus::Diagonal)
    note("the input's moments are not positive definite: only their diagonal is used");
  else if (worst == FactorStatus::NonFinite)
    note("the input's moments are not finite and not used");
  if (dead)
    note(Twine(dead) + " of " + Twine(statistics.moments.channels * statistics.moments.blocks) +
         " inputs were always zero: their weights are rounded to nearest");
  result.remark += "; error " + print(*result.errorCalibration) + " in calibration";
  if (result.errorHeldOut)
    result.remark += ", " + print(*result.errorHeldOut) + " on held-out data";
}
