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
  if (!(damping >= 0))
    return layer.op->emitOpError() << "option 'damping' must not be negative but is " << damping;
  if (!last || path != name) {
    llvm::Expected<::quanta::LayerMoments> moments = ::quanta::loadMoments(name);
    if (!moments)
      return layer.op->emitOpError() << toString(moments.takeError());
    auto statistics = std::make_shared<LayerStatistics>();
    statistics->moments = std::move(*moments);
    const ::quanta::LayerMoments &m = statistics->moments;
    statistics->damping = damping > 0 ? damping : std::clamp(1.2 * m.channels / std::max<double>(m.fitRows, 1), 0.01, 0.3);
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

/// Some rows of `whole`, without codes.
static ::quanta::RowGrids takeRows(const ::quanta::RowGrids &whole, int64_t begin, int64_t rows) {
  auto first = whole.grid.begin() + (whole.rowsAgree() ? 0 : begin * whole.columns);
  auto last = whole.rowsAgree() ? whole.grid.end() : first + rows * whole.columns;
  return ::quanta::RowGrids::create(rows, whole.columns, whole.formats, std::vector<uint16_t>(first, last));
}

/// Calls `body` with the number of a slice, its block and its rows, and what the layer should aim at there.
void CalibratedLayers::forEachSlice(
    const SolverLayer &layer, const LayerStatistics &statistics, ArrayRef<::quanta::HessianFactor> factors,
    function_ref<void(int64_t index, int64_t block, int64_t begin, MatrixViewF64 targets)> body) {
  int64_t columns = layer.weights.columns(), blockRows = layer.weights.rows() / layer.blocks;
  int64_t perBlock = slicesOfBlock(layer);
  parallelFor(context, 0, perBlock * layer.blocks, [&](size_t index) {
    int64_t block = index / perBlock, first = index % perBlock * kSliceRows, rows = std::min(kSliceRows, blockRows - first);
    int64_t begin = block * blockRows + first;
    const float *weights = layer.weights.row(begin);
    std::vector<double> targets(weights, weights + rows * columns);
    if (!statistics.moments.cross.empty())
      targets = correctTargets({targets.data(), rows, columns}, statistics.fit(block), statistics.cross(block), factors[block]);
    body(index, block, begin, {targets.data(), rows, columns});
  });
}

void CalibratedLayers::solveSlices(const SolverLayer &layer, const LayerStatistics &statistics,
                                   ArrayRef<::quanta::HessianFactor> factors, ::quanta::RowGrids &result) {
  forEachSlice(layer, statistics, factors, [&](int64_t, int64_t block, int64_t begin, MatrixViewF64 targets) {
    ::quanta::RowGrids part = takeRows(result, begin, targets.rows());
    solveGrids(targets, factors[block], part);
    llvm::copy(part.codes, result.codes.begin() + begin * result.columns);
    llvm::copy(part.parameters, result.parameters.begin() + begin * result.grids());
  });
}

std::vector<float> CalibratedLayers::computeTargets(const SolverLayer &layer, const LayerStatistics &statistics) {
  std::vector<float> result(layer.weights.rows() * layer.weights.columns());
  forEachSlice(layer, statistics, statistics.factors, [&](int64_t, int64_t, int64_t begin, MatrixViewF64 targets) {
    std::copy(targets.row(0), targets.row(0) + targets.rows() * targets.columns(),
              result.begin() + begin * targets.columns());
  });
  return result;
}

void CalibratedLayers::measure(const SolverLayer &layer, const LayerStatistics &statistics,
                               function_ref<float(int64_t row, int64_t column)> decode, EncodedWeight &weight) {
  std::vector<ErrorSums> sums(slicesOfBlock(layer) * layer.blocks);
  const std::vector<::quanta::HessianFactor> &factors = statistics.factors;
  forEachSlice(layer, statistics, factors, [&](int64_t index, int64_t block, int64_t begin, MatrixViewF64 target) {
    int64_t rows = target.rows(), columns = target.columns();
    std::vector<double> decoded(rows * columns), zeros(decoded.size());
    ErrorSums &sum = sums[index];
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        double value = layer.weights(begin + row, column), chosen = decode(begin + row, column);
        decoded[row * columns + column] = chosen;
        sum.weight += (value - chosen) * (value - chosen);
        sum.weightWhole += value * value;
      }
    MatrixViewF64 chosen(decoded.data(), rows, columns), zero(zeros.data(), rows, columns);
    // What could not be used measures nothing.
    MatrixViewF64 fit = isReplaced(factors[block]) ? factors[block].hessianView() : statistics.fit(block);
    sum.fit = hessianError(target, chosen, fit);
    sum.fitWhole = hessianError(target, zero, fit);
    if (statistics.moments.heldOutRows) {
      sum.heldOut = hessianError(target, chosen, statistics.heldOut(block));
      sum.heldOutWhole = hessianError(target, zero, statistics.heldOut(block));
    }
  });
  ErrorSums total;
  for (const ErrorSums &sum : sums)
    total += sum;
  // Rounding can leave a difference of nothing slightly below zero.
  auto divide = [](double part, double whole) { return whole > 0 ? std::max(part / whole, 0.0) : 0; };
  weight.errorCalibration = divide(total.fit, total.fitWhole);
  if (statistics.moments.heldOutRows)
    weight.errorHeldOut = divide(total.heldOut, total.heldOutWhole);
  weight.weightError = divide(total.weight, total.weightWhole);
}

static std::string print(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3g", value);
  return text;
}

/// Says how the moments could be used and what error is left.
static void describe(const LayerStatistics &statistics, EncodedWeight &weight) {
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
  weight.remark += llvm::formatv("; {0} rows of data, damping {1}", statistics.moments.fitRows,
                                 print(mean > 0 ? damping / mean : 0));
  if (worst == FactorStatus::MoreDamping)
    weight.addNote("the input's moments needed more damping to be positive definite");
  else if (worst == FactorStatus::Diagonal)
    weight.addNote("the input's moments are not positive definite: only their diagonal is used");
  else if (worst == FactorStatus::NonFinite)
    weight.addNote("the input's moments are not finite and not used");
  if (dead)
    weight.addNote(Twine(dead) + " of " + Twine(statistics.moments.channels * statistics.moments.blocks) +
                   " inputs were always zero: their weights are rounded to nearest");
  weight.remark += "; error " + print(*weight.errorCalibration) + " in calibration";
  if (weight.errorHeldOut)
    weight.remark += ", " + print(*weight.errorHeldOut) + " on held-out data";
}

void CalibratedLayers::solve(const SolverLayer &layer, const LayerStatistics &statistics,
                             ArrayRef<::quanta::HessianFactor> factors, ::quanta::RowGrids &grids, EncodedWeight &weight) {
  solveSlices(layer, statistics, factors, grids);
  if (grids.needsF32Scale()) {
    for (::quanta::UniformOptions &format : grids.formats)
      format.halfScale = false;
    solveSlices(layer, statistics, factors, grids);
    weight.addNote("scales in f32: they do not fit f16");
  }
  measure(layer, statistics, [&](int64_t row, int64_t column) { return grids.decode(row, column); }, weight);
  describe(statistics, weight);
}
