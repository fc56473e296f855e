//===- PbLlm.cpp - Partially binarized weights --------------------------------------------------------------------===//
#include "quanta/Solver/PbLlm.h"
#include "WeightMatrix.h"
#include <cmath>

namespace quanta {

namespace {
class PbLlmSolver : public SweepQuantizer {
public:
  PbLlmSolver(MatrixView weights, const HessianFactor &factor, PbLlmResult &result)
      : factor(factor), result(result), options(result.options), matrix(toDouble(weights)) {
    zeroDeadColumns({matrix.data(), result.rows, result.columns}, factor);
    gridOptions.bits = options.highBits;
    gridOptions.halfScale = options.halfScale;
  }

  void solve() {
    fitGrids();
    chooseSalient();
    fitBinaryParts();
    result.codes.resize(result.salient.size());
    double best = INFINITY, chosen = 1;
    for (double multiplier : options.multipliers)
      if (double loss = run(multiplier); loss < best) {
        best = loss;
        chosen = multiplier;
      }
    if (result.multiplier != chosen || options.multipliers.empty())
      run(chosen);
  }

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t index = factor.order[static_cast<size_t>(position)], group = index / result.groupColumns;
    for (int64_t row = 0; row < result.rows; ++row) {
      auto weight = static_cast<size_t>(row * result.columns + index);
      auto part = static_cast<size_t>(row * result.groups + group);
      if (result.salient[weight]) {
        const UniformGrid &grid = grids[static_cast<size_t>(row)];
        result.codes[weight] = encodeUniform(column[row], grid, gridOptions);
        quantized[row] = decodeUniform(result.codes[weight], grid, gridOptions);
        continue;
      }
      double mean = options.mean ? result.means[part] : 0, scale = result.scales[part];
      result.codes[weight] = column[row] >= mean;
      quantized[row] = result.codes[weight] ? mean + scale : mean - scale;
    }
  }

private:
  void fitGrids() {
    for (int64_t row = 0; row < result.rows; ++row) {
      RowMajor widened = (1 + options.highMargin) * matrix.row(row);
      UniformGrid grid = fitUniformGrid(asView(widened), gridOptions);
      result.needsF32Scale |= grid.needsF32Scale;
      result.highScales.push_back(grid.scale);
      result.highZeros.push_back(grid.zero);
      grids.push_back(grid);
    }
  }

  void chooseSalient() {
    RowMajor saliency = matrix.cwiseAbs();
    if (options.hessianSaliency)
      for (int64_t position = 0; position < result.columns; ++position) {
        auto column = saliency.col(factor.order[static_cast<size_t>(position)]);
        column = (column / factor.upperView()(position, position)).array().square().matrix().eval();
      }
    result.salient = options.tile > 0 ? tileMask(asView(saliency), options.tile, options.kept)
                                      : elementMask(asView(saliency), options.lowFraction, options.group);
  }

  void fitBinaryParts() {
    std::vector<uint8_t> low(result.salient.size());
    std::transform(result.salient.begin(), result.salient.end(), low.begin(), [](uint8_t salient) { return !salient; });
    for (int64_t row = 0; row < result.rows; ++row)
      for (int64_t begin = 0; begin < result.columns; begin += result.groupColumns) {
        int64_t offset = row * result.columns + begin, count = std::min(result.groupColumns, result.columns - begin);
        parameters.push_back(
            fitBinary(matrix.data() + offset, low.data() + offset, count, options.scale, options.mean));
      }
  }

  /// Codes of all weights with α times `multiplier`. Returns the loss.
  double run(double multiplier) {
    result.multiplier = multiplier;
    result.scales.clear();
    result.means.clear();
    for (const BinaryParameters &part : parameters) {
      result.scales.push_back(storeScale(multiplier * part.scale, options.halfScale, result.needsF32Scale));
      if (options.mean)
        result.means.push_back(storeScale(part.mean, options.halfScale, result.needsF32Scale));
    }
    if (options.compensate)
      return result.loss = 2 * sweepColumns(asView(matrix), factor, {}, *this).loss;
    Eigen::VectorXd quantized(result.rows);
    for (int64_t position = 0; position < result.columns; ++position) {
      Eigen::VectorXd column = matrix.col(factor.order[static_cast<size_t>(position)]);
      quantizeColumn(position, column.data(), quantized.data());
    }
    return result.loss = hessianError(asView(matrix), asView(decodeAll(result)), factor.hessianView());
  }

  const HessianFactor &factor;
  PbLlmResult &result;
  const PbLlmOptions &options;
  RowMajor matrix;
  UniformOptions gridOptions;
  std::vector<UniformGrid> grids;
  std::vector<BinaryParameters> parameters;
};
} // namespace

float PbLlmResult::decode(int64_t row, int64_t column) const {
  auto weight = static_cast<size_t>(row * columns + column);
  int code = codes[weight];
  if (salient[weight])
    return highScales[static_cast<size_t>(row)] * static_cast<float>(code - highZeros[static_cast<size_t>(row)]);
  auto part = static_cast<size_t>(row * groups + column / groupColumns);
  float scale = code ? scales[part] : -scales[part];
  return options.mean ? means[part] + scale : scale;
}

int64_t PbLlmResult::storedBits() const {
  int64_t count = std::count(salient.begin(), salient.end(), 1);
  return pbLlmBits(rows, columns, count, options.highBits, groups, options.mean, options.halfScale ? 16 : 32,
                   maskBits(options.index, rows, columns, count, options.tile, options.kept));
}

int64_t pbLlmBits(int64_t rows, int64_t columns, int64_t salient, unsigned highBits, int64_t groups, bool mean,
                  unsigned scaleBits, int64_t maskBits) {
  int64_t parameters = rows * groups * (mean ? 2 : 1) + rows * 2;
  return rows * columns - salient + salient * highBits + parameters * scaleBits + maskBits;
}

PbLlmResult quantizePbLlm(MatrixView weights, const HessianFactor &factor, const PbLlmOptions &options) {
  assert(options.highBits >= 2 && options.highBits <= 8 && options.group >= 0);
  PbLlmResult result;
  result.options = options;
  result.rows = weights.rows();
  result.columns = weights.columns();
  setGroups(result, options.group);
  result.nonFinite = !isFinite(weights);
  if (result.nonFinite || result.rows == 0 || result.columns == 0)
    return result;
  PbLlmSolver(weights, factor, result).solve();
  result.error = relativeError(toDouble(weights), decodeAll(result));
  return result;
}

} // namespace quanta
