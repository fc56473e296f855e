//===- Sweep.cpp - Error-compensating sweep over the columns of a matrix -------------------------------------------------===//
#include "quanta/Solver/Sweep.h"
#include "Product.h"
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace quanta {

namespace {
bool isFinite(MatrixViewF64 matrix) {
  for (int64_t row = 0; row < matrix.rows(); ++row)
    for (int64_t column = 0; column < matrix.columns(); ++column)
      if (!std::isfinite(matrix(row, column)))
        return false;
  return true;
}

/// Sets factor.upper from factor.hessian, or returns false if that is not positive definite.
bool factorUpper(HessianFactor &factor) {
  int64_t columns = factor.columns;
  MatrixViewF64 hessian = factor.hessianView();
  Eigen::MatrixXd reversed(columns, columns);
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = j; i < columns; ++i)
      reversed(i, j) = hessian(factor.order[columns - 1 - i], factor.order[columns - 1 - j]);
  Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> cholesky(reversed);
  if (cholesky.info() != Eigen::Success)
    return false;
  Eigen::MatrixXd inverse = Eigen::MatrixXd::Identity(columns, columns);
  reversed.triangularView<Eigen::Lower>().solveInPlace(inverse);
  if (!inverse.allFinite())
    return false;
  factor.upper.assign(static_cast<size_t>(columns * columns), 0);
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = i; j < columns; ++j)
      factor.upper[i * columns + j] = inverse(columns - 1 - i, columns - 1 - j);
  return true;
}

/// Keeps only the diagonal of factor.hessian, whose U is known.
void factorDiagonal(HessianFactor &factor) {
  size_t columns = static_cast<size_t>(factor.columns);
  std::vector<double> diagonal(columns);
  for (size_t j = 0; j < columns; ++j)
    diagonal[j] = factor.hessian[j * columns + j];
  factor.hessian.assign(columns * columns, 0);
  factor.upper.assign(columns * columns, 0);
  for (size_t j = 0; j < columns; ++j) {
    factor.hessian[j * columns + j] = diagonal[j];
    factor.upper[j * columns + j] = 1 / std::sqrt(diagonal[static_cast<size_t>(factor.order[j])]);
  }
}
} // namespace

HessianFactor factorHessian(MatrixViewF64 hessian, const FactorOptions &options, std::vector<int64_t> order) {
  int64_t columns = hessian.columns();
  assert(hessian.rows() == columns && (order.empty() || static_cast<int64_t>(order.size()) == columns));
  HessianFactor factor;
  factor.columns = columns;
  factor.order = std::move(order);
  factor.dead.resize(static_cast<size_t>(columns));
  factor.hessian.resize(static_cast<size_t>(columns * columns));
  bool finite = isFinite(hessian), natural = factor.order.empty();
  if (natural) {
    factor.order.resize(static_cast<size_t>(columns));
    std::iota(factor.order.begin(), factor.order.end(), 0);
  }
  if (!finite) {
    factor.status = FactorStatus::NonFinite;
    for (int64_t j = 0; j < columns; ++j)
      factor.hessian[j * columns + j] = 1;
    factorDiagonal(factor);
    return factor;
  }
  if (natural && options.actOrder)
    std::sort(factor.order.begin(), factor.order.end(), [&](int64_t a, int64_t b) {
      return hessian(a, a) != hessian(b, b) ? hessian(a, a) > hessian(b, b) : a < b;
    });

  double trace = 0;
  int64_t live = 0;
  for (int64_t j = 0; j < columns; ++j) {
    factor.dead[j] = !(hessian(j, j) > 0);
    if (!factor.dead[j]) {
      trace += hessian(j, j);
      ++live;
    }
  }
  double deadDiagonal = options.deadDiagonal > 0 ? options.deadDiagonal : live ? trace / live : 1;
  double mean = columns ? (trace + deadDiagonal * (columns - live)) / columns : 0;
  for (int64_t i = 0; i < columns; ++i)
    for (int64_t j = 0; j < columns; ++j)
      factor.hessian[i * columns + j] = factor.dead[i] || factor.dead[j] ? (i == j ? deadDiagonal : 0) : hessian(i, j);

  double relative = options.damping;
  for (unsigned attempt = 0; attempt <= options.retries; ++attempt) {
    double damping = relative * mean;
    for (int64_t j = 0; j < columns; ++j)
      factor.hessian[j * columns + j] += damping - factor.damping;
    factor.damping = damping;
    if (factorUpper(factor)) {
      factor.status = attempt ? FactorStatus::MoreDamping : FactorStatus::Damped;
      return factor;
    }
    relative = relative > 0 ? 10 * relative : 0.01;
  }
  factor.status = FactorStatus::Diagonal;
  factorDiagonal(factor);
  return factor;
}

void zeroDeadColumns(MutableMatrixViewF64 weights, const HessianFactor &factor) {
  for (int64_t row = 0; row < weights.rows(); ++row)
    for (int64_t column = 0; column < weights.columns(); ++column)
      if (factor.dead[column])
        weights(row, column) = 0;
}

SweepResult sweepColumns(MatrixViewF64 weights, const HessianFactor &factor, const SweepOptions &options,
                         SweepQuantizer &quantizer) {
  int64_t rows = weights.rows(), columns = weights.columns();
  assert(columns == factor.columns && options.blockColumns > 0);
  SweepResult result;
  result.quantized.resize(static_cast<size_t>(rows * columns));
  result.columnLoss.resize(static_cast<size_t>(columns));
  if (!rows || !columns)
    return result;

  // Columns are contiguous, in the order of the sweep.
  Eigen::MatrixXd current(rows, columns), quantized(rows, columns);
  for (int64_t position = 0; position < columns; ++position)
    for (int64_t row = 0; row < rows; ++row)
      current(row, position) = weights(row, factor.order[position]);
  ConstMap upper = map(factor.upperView());

  auto nextStart = options.blockStarts.begin();
  for (int64_t begin = 0, end; begin < columns; begin = end) {
    end = std::min(begin + options.blockColumns, columns);
    while (nextStart != options.blockStarts.end() && *nextStart <= begin)
      ++nextStart;
    if (nextStart != options.blockStarts.end())
      end = std::min(end, *nextStart);

    quantizer.beginBlock(begin, end, current.data());
    bool whole = quantizer.quantizeBlock(begin, end, current.data(), quantized.col(begin).data());
    Eigen::MatrixXd errors(rows, end - begin);
    for (int64_t j = begin; j < end; ++j) {
      if (!whole)
        quantizer.quantizeColumn(j, current.col(j).data(), quantized.col(j).data());
      auto error = errors.col(j - begin);
      error = (current.col(j) - quantized.col(j)) / upper(j, j);
      double loss = error.squaredNorm() / 2;
      result.columnLoss[factor.order[j]] = loss;
      result.loss += loss;
      if (!whole)
        for (int64_t k = j + 1; k < end; ++k)
          current.col(k).noalias() -= upper(j, k) * error;
    }
    if (end < columns)
      current.rightCols(columns - end) -= multiply(errors, upper.block(begin, end, end - begin, columns - end));
  }

  for (int64_t position = 0; position < columns; ++position)
    for (int64_t row = 0; row < rows; ++row)
      result.quantized[row * columns + factor.order[position]] = quantized(row, position);
  return result;
}

double hessianError(MatrixViewF64 weights, MatrixViewF64 quantized, MatrixViewF64 hessian) {
  if (!weights.rows() || !weights.columns())
    return 0;
  RowMajor difference = map(weights) - map(quantized);
  return multiply(difference, map(hessian)).cwiseProduct(difference).sum();
}

std::vector<double> correctTargets(MatrixViewF64 weights, MatrixViewF64 hessian, MatrixViewF64 cross,
                                   const HessianFactor &factor) {
  int64_t rows = weights.rows(), columns = weights.columns();
  std::vector<double> targets(static_cast<size_t>(rows * columns));
  if (targets.empty())
    return targets;
  Eigen::Map<RowMajor> result(targets.data(), rows, columns);
  result = map(weights);
  bool usable = factor.status == FactorStatus::Damped || factor.status == FactorStatus::MoreDamping;
  if (!usable || !isFinite(cross))
    return targets;
  // (W·(C − H))·H_d⁻¹ = ((...)·Uᵀ)·U in the order of the sweep.
  RowMajor change = multiply(map(weights), map(cross) - map(hessian)), permuted(rows, columns);
  for (int64_t position = 0; position < columns; ++position)
    permuted.col(position) = factor.dead[factor.order[position]] ? Eigen::VectorXd::Zero(rows).eval()
                                                                 : change.col(factor.order[position]).eval();
  ConstMap upper = map(factor.upperView());
  permuted = multiply(multiply(permuted, upper.transpose()), upper);
  for (int64_t position = 0; position < columns; ++position)
    result.col(factor.order[position]) += permuted.col(position);
  return targets;
}

} // namespace quanta
