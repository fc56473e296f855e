//===- Structured.cpp - A few columns of more bits, the others binary ---------------------------------------------===//
#include "quanta/Solver/Structured.h"
#include "WeightMatrix.h"
#include <cmath>

namespace quanta {

namespace {
class StructuredSolver : public SweepQuantizer {
public:
  StructuredSolver(MatrixView weights, MatrixViewF64 hessian, StructuredResult &result)
      : result(result), options(result.options), original(toDouble(weights)), matrix(original), hessian(hessian) {
    for (int64_t column = 0; column < result.columns; ++column)
      (result.salient[static_cast<size_t>(column)] ? high : low).push_back(column);
    gridOptions.bits = options.highBits;
    gridOptions.halfScale = options.halfScale;
    std::vector<int64_t> order; // empty is natural
    if (options.order != StructuredOrder::Natural) {
      bool last = options.order == StructuredOrder::SalientLast;
      order = last ? low : high;
      order.insert(order.end(), (last ? high : low).begin(), (last ? high : low).end());
    }
    FactorOptions factorOptions = options.factor;
    factorOptions.actOrder = false;
    factor = factorHessian(hessian, factorOptions, std::move(order));
    zeroDeadColumns({matrix.data(), result.rows, result.columns}, factor);
  }

  void solve() {
    result.codes.resize(static_cast<size_t>(result.rows * result.columns));
    fitBinaryPart();
    if (options.fullRowRange)
      fitGrids(matrix);
    SweepOptions sweep;
    for (int64_t position = result.columns; position-- > 0;)
      if (isSalient(position))
        firstSalient = position;
    if (firstSalient > 0)
      sweep.blockStarts.push_back(firstSalient); // so that all salient columns are up to date there
    if (options.compensate)
      sweepColumns(asView(matrix), factor, sweep, *this);
    else
      roundToNearest();
    for (int round = 0; round < options.rounds; ++round) {
      refineLow();
      refineHigh();
    }
  }

  void beginBlock(int64_t begin, int64_t end, const double *weights) override {
    if (begin != firstSalient || options.fullRowRange)
      return;
    RowMajor salient(result.rows, static_cast<int64_t>(high.size()));
    for (int64_t position = begin, next = 0; position < result.columns; ++position)
      if (isSalient(position))
        salient.col(next++) = Eigen::Map<const Eigen::VectorXd>(weights + position * result.rows, result.rows);
    fitGrids(salient);
  }

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t index = factor.order[static_cast<size_t>(position)];
    for (int64_t row = 0; row < result.rows; ++row) {
      auto r = static_cast<size_t>(row);
      uint8_t &code = result.codes[static_cast<size_t>(row * result.columns + index)];
      code = isSalient(position) ? encodeUniform(column[row], grids[r], gridOptions) : column[row] >= result.means[r];
      quantized[row] = result.decode(row, index);
    }
  }

private:
  bool isSalient(int64_t position) const {
    return result.salient[static_cast<size_t>(factor.order[static_cast<size_t>(position)])];
  }

  void fitBinaryPart() {
    std::vector<uint8_t> kept(static_cast<size_t>(result.columns));
    for (int64_t row = 0; row < result.rows; ++row) {
      for (int64_t column = 0; column < result.columns; ++column)
        kept[static_cast<size_t>(column)] = !result.salient[static_cast<size_t>(column)] &&
                                            (options.scale != BinaryScale::Uncentred || matrix(row, column) != 0);
      const double *values = matrix.data() + row * result.columns;
      BinaryParameters part = fitBinary(values, kept.data(), result.columns, options.scale);
      storeBinary({part.mean, options.multiplier * part.scale});
    }
  }

  void storeBinary(BinaryParameters part) {
    result.scales.push_back(storeScale(part.scale, options.halfScale, result.needsF32Scale));
    result.means.push_back(storeScale(part.mean, options.halfScale, result.needsF32Scale));
  }

  void fitGrids(const RowMajor &salient) {
    for (int64_t row = 0; row < result.rows; ++row) {
      UniformGrid grid = fitUniformGrid({salient.data() + row * salient.cols(), 1, salient.cols()}, gridOptions);
      result.needsF32Scale |= grid.needsF32Scale;
      result.highScales.push_back(grid.scale);
      result.highZeros.push_back(grid.zero);
      grids.push_back(grid);
    }
  }

  void roundToNearest() {
    if (!options.fullRowRange)
      fitGrids(matrix(Eigen::all, high));
    Eigen::VectorXd quantized(result.rows);
    for (int64_t position = 0; position < result.columns; ++position) {
      Eigen::VectorXd column = matrix.col(factor.order[static_cast<size_t>(position)]);
      quantizeColumn(position, column.data(), quantized.data());
    }
  }

  /// V·H_pp for `part`: (W − Q_other)·H in the columns of the part, Q_other zero there.
  RowMajor products(const std::vector<int64_t> &part, const std::vector<int64_t> &other) {
    RowMajor residual = original;
    residual(Eigen::all, other) -= decodeAll(result)(Eigen::all, other);
    return residual * RowMajor(map(hessian)(Eigen::all, part));
  }

  void refineLow() {
    if (low.empty())
      return;
    auto count = static_cast<int64_t>(low.size());
    RowMajor product = products(low, high), block = map(hessian)(low, low);
    std::vector<uint8_t> signs;
    for (int64_t row = 0; row < result.rows; ++row)
      for (int64_t column : low)
        signs.push_back(result.codes[static_cast<size_t>(row * result.columns + column)]);
    std::vector<BinaryParameters> parameters;
    auto fit = [&] {
      fitBinaryHessian(asView(product), asView(block), count, true, signs, parameters);
      result.scales.clear();
      result.means.clear();
      for (size_t row = 0; row < parameters.size(); ++row) {
        storeBinary(parameters[row]);
        parameters[row] = {result.means[row], result.scales[row]};
      }
    };
    fit();
    descendSigns(asView(product), asView(block), count, parameters, signs, 3);
    fit();
    auto sign = signs.begin();
    for (int64_t row = 0; row < result.rows; ++row)
      for (int64_t column : low)
        result.codes[static_cast<size_t>(row * result.columns + column)] = *sign++;
  }

  /// A code that changes by k changes the residual by d = −sk and the loss by 2dG_j + d²H_jj with G = (V − Q)·H: least
  /// at k = G_j/(sH_jj).
  void refineHigh() {
    if (high.empty())
      return;
    RowMajor block = map(hessian)(high, high);
    RowMajor gradient = products(high, low) - RowMajor(decodeAll(result)(Eigen::all, high)) * block;
    for (int sweep = 0; sweep < 5; ++sweep) {
      bool changed = false;
      for (int64_t j = 0; j < block.cols(); ++j)
        for (int64_t row = 0; row < result.rows; ++row)
          changed |= improveCode(row, high[static_cast<size_t>(j)], j, block, gradient);
      if (!changed)
        break;
    }
  }

  bool improveCode(int64_t row, int64_t column, int64_t j, const RowMajor &block, RowMajor &gradient) {
    uint8_t &code = result.codes[static_cast<size_t>(row * result.columns + column)];
    double scale = grids[static_cast<size_t>(row)].scale, step = scale * block(j, j);
    if (!(step > 0))
      return false;
    double best = std::clamp<double>(code + std::nearbyint(gradient(row, j) / step), 0, highestCode(gridOptions));
    double d = scale * (code - best);
    if (2 * d * gradient(row, j) + d * d * block(j, j) >= 0)
      return false;
    code = static_cast<uint8_t>(best);
    gradient.row(row) += d * block.row(j);
    return true;
  }

  StructuredResult &result;
  const StructuredOptions &options;
  RowMajor original, matrix; // matrix: dead columns are zero
  MatrixViewF64 hessian;
  HessianFactor factor;
  UniformOptions gridOptions;
  std::vector<int64_t> low, high; // columns
  std::vector<UniformGrid> grids; // of rows
  int64_t firstSalient = -1;      // position
};
} // namespace

float StructuredResult::decode(int64_t row, int64_t column) const {
  auto r = static_cast<size_t>(row);
  int code = codes[static_cast<size_t>(row * columns + column)];
  if (salient[static_cast<size_t>(column)])
    return highScales[r] * static_cast<float>(code - highZeros[r]);
  return means[r] + (code ? scales[r] : -scales[r]);
}

int64_t StructuredResult::storedBits() const {
  int64_t high = std::count(salient.begin(), salient.end(), 1), bits = options.highBits;
  return rows * (columns - high + high * bits) + columns + rows * (3 * (options.halfScale ? 16 : 32) + bits);
}

StructuredResult quantizeStructured(MatrixView weights, MatrixViewF64 hessian, const std::vector<uint8_t> &salient,
                                    const StructuredOptions &options) {
  assert(static_cast<int64_t>(salient.size()) == weights.columns() && hessian.rows() == weights.columns());
  StructuredResult result;
  result.options = options;
  result.rows = weights.rows();
  result.columns = weights.columns();
  result.salient = salient;
  result.nonFinite = !isFinite(weights);
  if (result.nonFinite || result.rows == 0 || result.columns == 0)
    return result;
  StructuredSolver(weights, hessian, result).solve();
  RowMajor original = toDouble(weights), decoded = decodeAll(result);
  result.loss = hessianError(asView(original), asView(decoded), hessian);
  result.error = relativeError(original, decoded);
  return result;
}

} // namespace quanta
