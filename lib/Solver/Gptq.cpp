//===- Gptq.cpp - Uniform codes that minimize the error of a layer's output ----------------------------------------------===//
#include "quanta/Solver/Gptq.h"
#include "EigenViews.h"
#include "quanta/Solver/Multiples.h"
#include "quanta/Solver/RowGrids.h"
#include <algorithm>
#include <cmath>

namespace quanta {

namespace {
int64_t gridIndex(const UniformResult &result, int64_t row, int64_t column) {
  return (result.scaleRows == 1 ? 0 : row) * result.groups + column / result.groupColumns;
}

/// Whether grids are found during the sweep.
bool isDynamic(const GptqOptions &options, int64_t columns) {
  int64_t group = options.uniform.group;
  return options.sweep && !options.staticGroups && group > 0 && group < columns;
}

/// Grids from all weights of their group.
void fitStaticGrids(MatrixViewF64 targets, const double *importance, UniformResult &result) {
  MultipleFitter multiples(result.options);
  for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow) {
    std::vector<UniformGrid> grids;
    for (int64_t group = 0; group < result.groups; ++group) {
      int64_t begin = group * result.groupColumns, count = std::min(result.groupColumns, result.columns - begin);
      bool whole = result.options.group < 0;
      MatrixViewF64 part = targets.block(whole ? 0 : scaleRow, begin, whole ? result.rows : 1, count);
      const double *weights = importance ? importance + begin : nullptr;
      grids.push_back(fitUniformGrid(part, result.options, weights));
      if (result.options.multiples)
        multiples.add(grids.back(), part, weights);
    }
    if (result.options.multiples)
      grids = multiples.fit();
    for (int64_t group = 0; group < result.groups; ++group)
      setGrid(result, scaleRow * result.groups + group, grids[group]);
  }
}

class UniformQuantizer : public SweepQuantizer {
public:
  UniformQuantizer(UniformResult &result, const std::vector<int64_t> &order, bool dynamic, const double *importance)
      : result(result), order(order), dynamic(dynamic), importance(importance) {}

  /// Dynamic groups, whose order is the natural one: the grids of a group are found when its first column comes.
  void beginBlock(int64_t begin, int64_t end, const double *weights) override {
    if (!dynamic || begin % result.groupColumns)
      return;
    int64_t count = std::min(result.groupColumns, result.columns - begin), group = begin / result.groupColumns;
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t row = 0; row < result.rows; ++row) {
      for (int64_t j = 0; j < count; ++j)
        values[j] = weights[(begin + j) * result.rows + row];
      setGrid(result, row * result.groups + group,
              fitUniformGrid({values.data(), 1, count}, result.options, importance ? importance + begin : nullptr));
    }
  }

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t j = order[position];
    for (int64_t row = 0; row < result.rows; ++row) {
      UniformGrid grid = getGrid(result, gridIndex(result, row, j));
      uint8_t code = encodeUniform(column[row], grid, result.options);
      result.codes[row * result.columns + j] = code;
      quantized[row] = decodeUniform(code, grid, result.options);
    }
  }

private:
  UniformResult &result;
  const std::vector<int64_t> &order;
  bool dynamic;
  const double *importance;
};

} // namespace

std::vector<double> decodeF64(const UniformResult &result) {
  std::vector<double> decoded(result.codes.size());
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column)
      decoded[row * result.columns + column] = result.decode(row, column);
  return decoded;
}

int64_t refitScales(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result) {
  RowGrids grids = toRowGrids(result);
  int64_t changed = refitGrids(targets, hessian, grids);
  result = toUniform(grids, result.options.group);
  return changed;
}

int64_t descendCodes(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result, unsigned passes) {
  RowGrids grids = toRowGrids(result);
  int64_t changed = descendCodes(targets, hessian, grids, passes);
  result.codes = std::move(grids.codes);
  return changed;
}

FactorOptions gptqFactorOptions(const GptqOptions &options, int64_t columns) {
  FactorOptions factorOptions;
  factorOptions.damping = options.damping;
  // Groups of columns that do not come one after the other have no first column that could find their grid.
  factorOptions.actOrder = options.actOrder && !isDynamic(options, columns);
  return factorOptions;
}

GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const GptqOptions &options, MatrixViewF64 cross) {
  HessianFactor factor = factorHessian(hessian, gptqFactorOptions(options, weights.columns()));
  return quantizeGptq(weights, hessian, factor, options, cross);
}

/// Sets neither layerError nor uniform.error.
static GptqResult solveTargets(MatrixViewF64 targets, const HessianFactor &factor, const GptqOptions &options) {
  int64_t rows = targets.rows(), columns = targets.columns();
  assert(factor.columns == columns);
  GptqResult result;
  UniformResult &uniform = result.uniform;
  uniform = makeUniformResult(rows, columns, options.uniform);
  bool dynamic = isDynamic(options, columns);
  assert(!dynamic || !options.uniform.multiples);
  assert(!dynamic || std::is_sorted(factor.order.begin(), factor.order.end()));
  result.status = factor.status;
  result.damping = factor.damping;
  result.order = factor.order;

  std::vector<double> diagonal;
  for (int64_t j = 0; options.weightedRange && j < columns; ++j)
    diagonal.push_back(factor.hessianView()(j, j));
  const double *importance = options.weightedRange ? diagonal.data() : nullptr;
  if (!dynamic)
    fitStaticGrids(targets, importance, uniform);

  if (options.sweep) {
    SweepOptions sweepOptions;
    sweepOptions.blockColumns = options.blockColumns;
    for (int64_t start = 0; dynamic && start < columns; start += uniform.groupColumns)
      sweepOptions.blockStarts.push_back(start);
    UniformQuantizer quantizer(uniform, factor.order, dynamic, importance);
    SweepResult swept = sweepColumns(targets, factor, sweepOptions, quantizer);
    result.sweepLoss = swept.loss;
    result.columnLoss = std::move(swept.columnLoss);
  } else {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t j = 0; j < columns; ++j)
        uniform.codes[row * columns + j] =
            encodeUniform(targets(row, j), getGrid(uniform, gridIndex(uniform, row, j)), uniform.options);
  }

  RowGrids grids = toRowGrids(uniform);
  if (options.refitScales) {
    refineGrids(targets, factor.hessianView(), grids, options.refinements, options.descents);
  } else {
    descendCodes(targets, factor.hessianView(), grids, options.refinements * options.descents);
  }
  uniform = toUniform(grids, options.uniform.group);
  return result;
}

GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const HessianFactor &factor,
                        const GptqOptions &options, MatrixViewF64 cross) {
  int64_t rows = weights.rows(), columns = weights.columns();
  assert(hessian.rows() == columns && hessian.columns() == columns);
  assert(!cross.rows() || (cross.rows() == columns && cross.columns() == columns));
  if (!isFinite(weights)) {
    GptqResult result;
    result.uniform.options = options.uniform;
    result.uniform.rows = rows;
    result.uniform.columns = columns;
    result.uniform.nonFinite = true;
    return result;
  }
  std::vector<double> targetValues;
  targetValues.reserve(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; ++row)
    targetValues.insert(targetValues.end(), weights.row(row), weights.row(row) + columns);
  if (cross.rows())
    targetValues = correctTargets({targetValues.data(), rows, columns}, hessian, cross, factor);
  zeroDeadColumns({targetValues.data(), rows, columns}, factor);
  MatrixViewF64 targets(targetValues.data(), rows, columns);
  GptqResult result = solveTargets(targets, factor, options);

  bool replaced = factor.status == FactorStatus::Diagonal || factor.status == FactorStatus::NonFinite;
  MatrixViewF64 measure = replaced ? factor.hessianView() : hessian;
  std::vector<double> decoded = decodeF64(result.uniform), zeros(decoded.size());
  double whole = hessianError(targets, {zeros.data(), rows, columns}, measure);
  result.layerError =
      whole > 0 ? std::max(hessianError(targets, {decoded.data(), rows, columns}, measure) / whole, 0.0) : 0;
  measureError(weights, result.uniform);
  return result;
}

} // namespace quanta
