//===- Binary.cpp - Weights of two values -------------------------------------------------------------------------===//
#include "quanta/Solver/Binary.h"
#include "WeightMatrix.h"
#include <Eigen/QR>
#include <cmath>
#include <numeric>

namespace quanta {

namespace {
/// Signs split sorted values in two; Σ(w − ŵ)² = Σw² − Σ_parts (Σw)²/size.
BinaryParameters fitOptimal(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  double total = std::accumulate(values.begin(), values.end(), 0.0), low = 0, best = -1;
  auto size = static_cast<double>(values.size());
  BinaryParameters parameters{values.empty() ? 0 : total / size, 0};
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    low += values[i];
    if (values[i] == values[i + 1])
      continue;
    auto count = static_cast<double>(i + 1);
    double lowMean = low / count, highMean = (total - low) / (size - count);
    double gain = low * lowMean + (total - low) * highMean;
    if (gain > best) {
      best = gain;
      parameters = {(lowMean + highMean) / 2, (highMean - lowMean) / 2};
    }
  }
  return parameters;
}

BinaryResult makeResult(MatrixView weights, const BinaryOptions &options) {
  assert(options.group >= 0);
  BinaryResult result;
  result.options = options;
  result.rows = weights.rows();
  result.columns = weights.columns();
  setGroups(result, options.group);
  result.nonFinite = !isFinite(weights);
  return result;
}

void store(const std::vector<BinaryParameters> &parameters, BinaryResult &result) {
  result.scales.clear();
  result.means.clear();
  for (const BinaryParameters &group : parameters) {
    result.scales.push_back(storeScale(group.scale, result.options.halfScale, result.needsF32Scale));
    if (result.options.mean)
      result.means.push_back(storeScale(group.mean, result.options.halfScale, result.needsF32Scale));
  }
}

std::vector<BinaryParameters> stored(const BinaryResult &result) {
  std::vector<BinaryParameters> parameters(result.scales.size());
  for (size_t i = 0; i < parameters.size(); ++i)
    parameters[i] = {result.options.mean ? result.means[i] : 0, result.scales[i]};
  return parameters;
}

/// μ and α of all groups.
void fitGroups(const RowMajor &weights, BinaryResult &result) {
  std::vector<BinaryParameters> parameters;
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t begin = 0; begin < result.columns; begin += result.groupColumns) {
      const double *values = weights.data() + row * result.columns + begin;
      int64_t count = std::min(result.groupColumns, result.columns - begin);
      BinaryParameters group = fitBinary(values, nullptr, count, result.options.scale, result.options.mean);
      if (result.options.mean)
        alternateBinary(values, nullptr, count, result.options.alternations, group);
      parameters.push_back(group);
    }
  store(parameters, result);
}

class BinarySweep : public SweepQuantizer {
public:
  BinarySweep(const HessianFactor &factor, BinaryResult &result)
      : factor(factor), result(result), parameters(stored(result)) {}

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t index = factor.order[static_cast<size_t>(position)], group = index / result.groupColumns;
    for (int64_t row = 0; row < result.rows; ++row) {
      auto [mean, scale] = parameters[static_cast<size_t>(row * result.groups + group)];
      bool sign = column[row] >= mean;
      result.signs[static_cast<size_t>(row * result.columns + index)] = sign;
      quantized[row] = sign ? mean + scale : mean - scale;
    }
  }

private:
  const HessianFactor &factor;
  BinaryResult &result;
  std::vector<BinaryParameters> parameters;
};

RowMajor decodeSigns(const std::vector<uint8_t> &signs, const std::vector<BinaryParameters> &parameters, int64_t rows,
                     int64_t columns, int64_t groupColumns) {
  RowMajor decoded(rows, columns);
  int64_t groups = groupColumns ? (columns + groupColumns - 1) / groupColumns : 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      auto [mean, scale] = parameters[static_cast<size_t>(row * groups + column / groupColumns)];
      decoded(row, column) = signs[static_cast<size_t>(row * columns + column)] ? mean + scale : mean - scale;
    }
  return decoded;
}
} // namespace

BinaryParameters fitBinary(const double *values, const uint8_t *kept, int64_t count, BinaryScale rule, bool useMean) {
  std::vector<double> used;
  for (int64_t i = 0; i < count; ++i)
    if (!kept || kept[i])
      used.push_back(values[i]);
  if (rule == BinaryScale::PbLlmCode)
    used.resize(static_cast<size_t>(count), 0);
  if (used.empty())
    return {};
  if (rule == BinaryScale::Optimal && useMean)
    return fitOptimal(std::move(used));
  auto size = static_cast<double>(used.size());
  BinaryParameters parameters;
  if (useMean)
    parameters.mean = std::accumulate(used.begin(), used.end(), 0.0) / size;
  double centre = rule == BinaryScale::Uncentred ? 0 : parameters.mean;
  for (double value : used)
    parameters.scale += std::fabs(value - centre) / size;
  return parameters;
}

void alternateBinary(const double *values, const uint8_t *kept, int64_t count, int iterations,
                     BinaryParameters &parameters) {
  std::vector<double> used;
  for (int64_t i = 0; i < count; ++i)
    if (!kept || kept[i])
      used.push_back(values[i]);
  auto size = static_cast<double>(used.size());
  std::vector<double> signs(used.size());
  for (int iteration = 0; iteration < iterations && !used.empty(); ++iteration) {
    double residual = 0, product = 0;
    for (size_t i = 0; i < used.size(); ++i) {
      signs[i] = used[i] >= parameters.mean ? 1 : -1;
      residual += used[i] - parameters.mean - parameters.scale * signs[i];
    }
    parameters.mean += residual / size;
    for (size_t i = 0; i < used.size(); ++i)
      product += signs[i] * (used[i] - parameters.mean);
    parameters.scale = product / size;
  }
}

float BinaryResult::decode(int64_t row, int64_t column) const {
  auto index = static_cast<size_t>(row * groups + column / groupColumns);
  float scale = signs[static_cast<size_t>(row * columns + column)] ? scales[index] : -scales[index];
  return options.mean ? means[index] + scale : scale;
}

int64_t BinaryResult::storedBits() const {
  return rows * columns + static_cast<int64_t>(scales.size() + means.size()) * (options.halfScale ? 16 : 32);
}

BinaryResult quantizeBinary(MatrixView weights, const BinaryOptions &options) {
  BinaryResult result = makeResult(weights, options);
  if (result.nonFinite || result.groups == 0)
    return result;
  RowMajor matrix = toDouble(weights);
  fitGroups(matrix, result);
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column) {
      auto index = static_cast<size_t>(row * result.groups + column / result.groupColumns);
      result.signs.push_back(weights(row, column) >= (options.mean ? result.means[index] : 0));
    }
  result.error = relativeError(matrix, decodeAll(result));
  return result;
}

BinaryResult sweepBinary(MatrixView weights, const HessianFactor &factor, const BinaryOptions &options) {
  BinaryResult result = makeResult(weights, options);
  if (result.nonFinite || result.groups == 0 || result.rows == 0)
    return result;
  RowMajor original = toDouble(weights), matrix = original;
  zeroDeadColumns({matrix.data(), result.rows, result.columns}, factor);
  fitGroups(matrix, result);
  result.signs.resize(static_cast<size_t>(result.rows * result.columns));
  BinarySweep quantizer(factor, result);
  result.loss = 2 * sweepColumns(asView(matrix), factor, {}, quantizer).loss;
  result.error = relativeError(original, decodeAll(result));
  return result;
}

void fitBinaryHessian(MatrixViewF64 products, MatrixViewF64 hessian, int64_t groupColumns, bool useMean,
                      std::vector<uint8_t> &signs, std::vector<BinaryParameters> &parameters) {
  int64_t rows = products.rows(), columns = products.columns();
  int64_t groups = groupColumns ? (columns + groupColumns - 1) / groupColumns : 0;
  if (rows == 0 || groups == 0)
    return;
  // The unknowns of a row are first the α of all groups, then their μ: Ŵ = Σ α_g b_g + μ_g 1_g with b_g and 1_g zero
  // outside the group. Normal equations: the products of these vectors under H against those with V·H.
  int64_t unknowns = useMean ? 2 * groups : groups;
  ConstMap h = map(hessian), product = map(products);
  RowMajor sign(rows, columns), normal(rows, unknowns * unknowns), right(rows, unknowns);
  for (int64_t i = 0; i < rows * columns; ++i)
    sign.data()[i] = signs[static_cast<size_t>(i)] ? 1 : -1;
  auto begin = [&](int64_t group) { return group * groupColumns; };
  auto size = [&](int64_t group) { return std::min(groupColumns, columns - group * groupColumns); };
  for (int64_t g = 0; g < groups; ++g) {
    auto rowsOfH = h.middleRows(begin(g), size(g));
    RowMajor signH = sign.middleCols(begin(g), size(g)) * rowsOfH;
    Eigen::RowVectorXd oneH = rowsOfH.colwise().sum();
    auto part = product.middleCols(begin(g), size(g));
    right.col(g) = part.cwiseProduct(sign.middleCols(begin(g), size(g))).rowwise().sum();
    if (useMean)
      right.col(groups + g) = part.rowwise().sum();
    for (int64_t k = 0; k < groups; ++k) {
      auto signs = sign.middleCols(begin(k), size(k));
      auto signHs = signH.middleCols(begin(k), size(k));
      normal.col(g * unknowns + k) = signHs.cwiseProduct(signs).rowwise().sum();
      if (!useMean)
        continue;
      normal.col(g * unknowns + groups + k) = signHs.rowwise().sum();
      normal.col((groups + k) * unknowns + g) = normal.col(g * unknowns + groups + k);
      normal.col((groups + g) * unknowns + groups + k).setConstant(oneH.segment(begin(k), size(k)).sum());
    }
  }
  parameters.assign(static_cast<size_t>(rows * groups), {});
  for (int64_t row = 0; row < rows; ++row) {
    // Groups of equal signs make the equations singular: the solution of least norm.
    Eigen::Map<const RowMajor> equations(normal.data() + row * unknowns * unknowns, unknowns, unknowns);
    Eigen::VectorXd solution = equations.completeOrthogonalDecomposition().solve(right.row(row).transpose());
    for (int64_t g = 0; g < groups; ++g) {
      parameters[static_cast<size_t>(row * groups + g)] = {useMean ? solution[groups + g] : 0, std::fabs(solution[g])};
      if (solution[g] < 0)
        for (int64_t column = begin(g); column < begin(g) + size(g); ++column)
          signs[static_cast<size_t>(row * columns + column)] ^= 1;
    }
  }
}

int64_t descendSigns(MatrixViewF64 products, MatrixViewF64 hessian, int64_t groupColumns,
                     const std::vector<BinaryParameters> &parameters, std::vector<uint8_t> &signs, int sweeps) {
  int64_t rows = products.rows(), columns = products.columns(), flips = 0;
  if (rows == 0 || columns == 0)
    return 0;
  int64_t groups = (columns + groupColumns - 1) / groupColumns;
  ConstMap h = map(hessian);
  RowMajor gradient = map(products) - decodeSigns(signs, parameters, rows, columns, groupColumns) * h;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    int64_t before = flips;
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = 0; row < rows; ++row) {
        uint8_t &sign = signs[static_cast<size_t>(row * columns + column)];
        double scale = parameters[static_cast<size_t>(row * groups + column / groupColumns)].scale;
        double d = sign ? 2 * scale : -2 * scale;
        if (2 * d * gradient(row, column) + d * d * h(column, column) >= 0)
          continue;
        sign ^= 1;
        gradient.row(row) += d * h.row(column);
        ++flips;
      }
    if (flips == before)
      break;
  }
  return flips;
}

void refineBinary(MatrixView weights, MatrixViewF64 hessian, BinaryResult &result, int iterations, int sweeps) {
  if (result.nonFinite || result.groups == 0 || result.rows == 0)
    return;
  RowMajor matrix = toDouble(weights), products = matrix * map(hessian);
  std::vector<BinaryParameters> parameters;
  auto fit = [&] {
    fitBinaryHessian(asView(products), hessian, result.groupColumns, result.options.mean, result.signs, parameters);
    store(parameters, result);
    parameters = stored(result);
  };
  for (int iteration = 0; iteration < iterations; ++iteration) {
    fit();
    descendSigns(asView(products), hessian, result.groupColumns, parameters, result.signs, sweeps);
  }
  fit();
  RowMajor decoded = decodeAll(result);
  result.loss = hessianError(asView(matrix), asView(decoded), hessian);
  result.error = relativeError(matrix, decoded);
}

} // namespace quanta
