//===- FactoredBinary.cpp - Weights as products of signs ------------------------------------------------------------===//
#include "quanta/Solver/FactoredBinary.h"
#include "WeightMatrix.h"
#include <Eigen/Cholesky>
#include <Eigen/SVD>
#include <cmath>

namespace quanta {

namespace {
using Eigen::MatrixXd;
using Eigen::VectorXd;

std::vector<double> toVector(const RowMajor &matrix) { return {matrix.data(), matrix.data() + matrix.size()}; }
std::vector<double> toVector(const VectorXd &vector) { return {vector.data(), vector.data() + vector.size()}; }
Eigen::Map<const VectorXd> asVector(const std::vector<double> &values) {
  return {values.data(), static_cast<int64_t>(values.size())};
}

std::vector<uint8_t> toSigns(const RowMajor &matrix) {
  std::vector<uint8_t> signs;
  for (int64_t i = 0; i < matrix.size(); ++i)
    signs.push_back(matrix.data()[i] >= 0);
  return signs;
}
RowMajor fromSigns(const std::vector<uint8_t> &signs, int64_t rows, int64_t columns) {
  RowMajor matrix(rows, columns);
  std::transform(signs.begin(), signs.end(), matrix.data(), [](uint8_t sign) { return sign ? 1.0 : -1.0; });
  return matrix;
}

/// sign(Z) ⊙ (the best approximation of |Z| of rank 1). A matrix of positive numbers is so near to rank 1 that a few steps
/// of the power method suffice.
MatrixXd projectToSigns(const MatrixXd &matrix) {
  MatrixXd magnitudes = matrix.cwiseAbs();
  VectorXd right = VectorXd::Ones(matrix.cols()), left;
  for (int i = 0; i < 100; ++i) {
    left = magnitudes * right.normalized();
    VectorXd next = magnitudes.transpose() * left.normalized();
    double change = (next - right).norm(), norm = next.norm();
    right = std::move(next);
    if (change <= 1e-14 * norm)
      break;
  }
  MatrixXd product = left.normalized() * right.transpose();
  return (matrix.array() >= 0).select(product, -product);
}

/// The F with (XᵀX + c)·F = Xᵀ·Y + pull·(Z − U).
MatrixXd pulledLeastSquares(const MatrixXd &x, const MatrixXd &y, const MatrixXd &z, const MatrixXd &u, double pull,
                            double regularization) {
  MatrixXd normal = x.transpose() * x;
  double shift = std::max(pull * std::fabs(normal.diagonal().mean()) + regularization, 1e-12);
  normal.diagonal().array() += shift;
  return normal.llt().solve(x.transpose() * y + pull * (z - u));
}

/// Numbers that do not depend on a library's distributions.
MatrixXd randomNormal(int64_t rows, int64_t columns, uint64_t seed) {
  auto uniform = [&seed] { // splitmix64
    uint64_t x = seed += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return (static_cast<double>((x ^ x >> 31) >> 11) + 0.5) * 0x1p-53;
  };
  MatrixXd matrix(rows, columns);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      double radius = std::sqrt(-2 * std::log(uniform()));
      matrix(row, column) = radius * std::cos(2 * M_PI * uniform());
    }
  return matrix;
}

MatrixXd startFrom(const std::vector<double> &given, int64_t rows, int64_t columns, uint64_t seed) {
  if (given.empty())
    return randomNormal(rows, columns, seed);
  assert(static_cast<int64_t>(given.size()) == rows * columns);
  return map({given.data(), rows, columns});
}

/// Both scales by turns, each exactly, in Σ d_j·(w − ŵ)².
void fitScales(const RowMajor &weights, const VectorXd &importance, int iterations, FactoredBinary &result) {
  RowMajor core = fromSigns(result.left, result.rows, result.rank) * fromSigns(result.right, result.rank, result.columns);
  VectorXd rowScales = VectorXd::Zero(result.rows), columnScales = VectorXd::Ones(result.columns);
  for (int i = 0; i < iterations; ++i) {
    RowMajor scaled = core * columnScales.asDiagonal();
    RowMajor weighted = scaled * importance.asDiagonal();
    rowScales = weights.cwiseProduct(weighted).rowwise().sum().cwiseQuotient(
        scaled.cwiseProduct(weighted).rowwise().sum().cwiseMax(1e-12));
    scaled = rowScales.asDiagonal() * core;
    columnScales = weights.cwiseProduct(scaled).colwise().sum().cwiseQuotient(
        scaled.cwiseProduct(scaled).colwise().sum().cwiseMax(1e-12));
  }
  RowMajor rest = weights - rowScales.asDiagonal() * core * columnScales.asDiagonal();
  result.error = (rest.cwiseProduct(rest) * importance).sum();
  result.rowScales = toVector(rowScales);
  result.columnScales = toVector(columnScales);
}

/// A flip of A_ir changes row i of the residual by d = 2·s_i·A_ir times P_r = B_r·diag(columnScales), and the error by
/// 2d·G_ir + d²·K_rr with G = (W − Ŵ)·H·Pᵀ, K = P·H·Pᵀ.
void descendLeftSigns(const RowMajor &weights, ConstMap hessian, FactoredBinary &result, int sweeps) {
  RowMajor left = fromSigns(result.left, result.rows, result.rank);
  RowMajor rows = fromSigns(result.right, result.rank, result.columns) * asVector(result.columnScales).asDiagonal();
  RowMajor products = rows * hessian, moments = products * rows.transpose();
  auto scales = asVector(result.rowScales);
  RowMajor gradient = (weights - scales.asDiagonal() * left * rows) * products.transpose();
  for (int sweep = 0; sweep < sweeps; ++sweep)
    for (int64_t r = 0; r < result.rank; ++r)
      for (int64_t row = 0; row < result.rows; ++row) {
        double d = 2 * scales[row] * left(row, r);
        if (!(2 * d * gradient(row, r) + d * d * moments(r, r) < 0))
          continue;
        left(row, r) = -left(row, r);
        gradient.row(row) += d * moments.row(r);
      }
  result.left = toSigns(left);
}
} // namespace

std::vector<double> SignMagnitude::decode() const {
  RowMajor product = map({left.data(), rows, rank}) * map({right.data(), rank, columns});
  return toVector(RowMajor(product.cwiseProduct(fromSigns(signs, rows, columns))));
}

SignMagnitude factorMagnitudes(MatrixViewF64 weights, int64_t rank) {
  assert(rank >= 0 && rank <= std::min(weights.rows(), weights.columns()));
  RowMajor matrix = map(weights);
  SignMagnitude result{weights.rows(), weights.columns(), rank, toSigns(matrix), {}, {}};
  if (matrix.size() == 0)
    return result;
  Eigen::BDCSVD<MatrixXd> svd(matrix.cwiseAbs(), Eigen::ComputeThinU | Eigen::ComputeThinV);
  VectorXd roots = svd.singularValues().head(rank).cwiseSqrt();
  result.left = toVector(RowMajor(svd.matrixU().leftCols(rank) * roots.asDiagonal()));
  result.right = toVector(RowMajor(roots.asDiagonal() * svd.matrixV().leftCols(rank).transpose()));
  return result;
}

std::vector<SignMagnitude> stackMagnitudes(MatrixViewF64 weights, int64_t blocks, int64_t rank) {
  RowMajor rest = map(weights);
  std::vector<SignMagnitude> result;
  for (int64_t block = 0; block < blocks; ++block) {
    result.push_back(factorMagnitudes(asView(rest), rank));
    std::vector<double> values = result.back().decode();
    rest -= map({values.data(), weights.rows(), weights.columns()});
  }
  return result;
}

std::vector<double> FactoredBinary::decode() const {
  RowMajor core = fromSigns(left, rows, rank) * fromSigns(right, rank, columns);
  return toVector(RowMajor(asVector(rowScales).asDiagonal() * core * asVector(columnScales).asDiagonal()));
}

int64_t factoredBinaryRank(int64_t rows, int64_t columns, double bitsPerWeight) {
  double sides = static_cast<double>(rows + columns);
  double rank = bitsPerWeight * static_cast<double>(rows) * static_cast<double>(columns) / sides - 16;
  return std::max<int64_t>(static_cast<int64_t>(std::floor(rank / 32)) * 32, 32);
}

FactoredBinary factorBinary(MatrixViewF64 weights, const std::vector<double> &importance,
                            const FactoredBinaryOptions &options) {
  FactoredBinary result{weights.rows(), weights.columns(), options.rank, {}, {}, {}, {}, 0};
  RowMajor matrix = map(weights);
  VectorXd columnWeights = VectorXd::Ones(weights.columns());
  if (!importance.empty())
    columnWeights = asVector(importance);
  MatrixXd target = matrix * columnWeights.cwiseSqrt().asDiagonal();

  MatrixXd left = startFrom(options.left, result.rows, result.rank, 1);
  MatrixXd right = startFrom(options.right, result.rank, result.columns, 2);
  MatrixXd leftSigns = projectToSigns(left), rightSigns = projectToSigns(right);
  MatrixXd leftDual = left - leftSigns, rightDual = right - rightSigns;
  for (int i = 0; i < options.iterations; ++i) {
    double time = static_cast<double>(i) / options.iterations, pull = time * time * time;
    MatrixXd x = rightSigns.transpose();
    x.colwise().normalize();
    left = pulledLeastSquares(x, target.transpose(), leftSigns.transpose(), leftDual.transpose(), pull,
                              options.regularization)
               .transpose();
    x = leftSigns;
    x.colwise().normalize();
    right = pulledLeastSquares(x, target, rightSigns, rightDual, pull, options.regularization);
    leftSigns = projectToSigns(left + leftDual);
    rightSigns = projectToSigns(right + rightDual);
    leftDual += left - leftSigns;
    rightDual += right - rightSigns;
  }
  result.left = toSigns(leftSigns);
  result.right = toSigns(rightSigns);
  fitScales(matrix, columnWeights, options.scaleIterations, result);
  return result;
}

std::vector<double> refineFactoredBinary(MatrixViewF64 weights, MatrixViewF64 hessian, FactoredBinary &result,
                                         int iterations, int sweeps) {
  RowMajor matrix = map(weights), products = matrix * map(hessian);
  RowMajor core = fromSigns(result.left, result.rows, result.rank) * fromSigns(result.right, result.rank, result.columns);
  std::vector<double> errors;
  auto measure = [&] {
    std::vector<double> values = result.decode();
    errors.push_back(hessianError(weights, {values.data(), result.rows, result.columns}, hessian));
  };
  for (int i = 0; i < iterations; ++i) {
    RowMajor scaled = core * asVector(result.columnScales).asDiagonal(), moments = scaled * map(hessian);
    result.rowScales = toVector(VectorXd(moments.cwiseProduct(matrix).rowwise().sum().cwiseQuotient(
        moments.cwiseProduct(scaled).rowwise().sum().cwiseMax(1e-12))));
    measure();
    scaled = asVector(result.rowScales).asDiagonal() * core;
    MatrixXd normal = (scaled.transpose() * scaled).cwiseProduct(map(hessian));
    normal.diagonal() *= 1 + 1e-9;
    VectorXd right = scaled.cwiseProduct(products).colwise().sum();
    result.columnScales = toVector(VectorXd(normal.ldlt().solve(right)));
    measure();
  }
  descendLeftSigns(matrix, map(hessian), result, sweeps);
  measure();
  result.error = errors.back();
  return errors;
}

} // namespace quanta
