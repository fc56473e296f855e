//===- LowRank.cpp - A matrix as a product of two thin ones, alone or beside a quantized one ----------------------===//
#include "quanta/Solver/LowRank.h"
#include "WeightMatrix.h"
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <cmath>

namespace quanta {

namespace {
std::vector<double> toVector(const RowMajor &matrix) { return {matrix.data(), matrix.data() + matrix.size()}; }
ConstMap mapSquare(const Whitening &whitening) {
  return map({whitening.matrix.data(), whitening.channels, whitening.channels});
}
Eigen::Map<const Eigen::VectorXd> mapScales(const Whitening &whitening) {
  return {whitening.scales.data(), whitening.channels};
}

/// M·S
RowMajor whiten(const RowMajor &matrix, const Whitening &whitening) {
  switch (whitening.kind) {
  case Whitening::Kind::Identity:
    return matrix;
  case Whitening::Kind::Diagonal:
    return matrix * mapScales(whitening).asDiagonal();
  case Whitening::Kind::Triangular:
    return matrix * mapSquare(whitening).triangularView<Eigen::Lower>();
  case Whitening::Kind::Spectral:
    return matrix * mapSquare(whitening) * mapScales(whitening).asDiagonal();
  }
  return matrix;
}

/// M·S⁻¹, or of the pseudoinverse
RowMajor unwhiten(const RowMajor &matrix, const Whitening &whitening) {
  switch (whitening.kind) {
  case Whitening::Kind::Identity:
    return matrix;
  case Whitening::Kind::Diagonal:
    return matrix * mapScales(whitening).cwiseInverse().asDiagonal();
  case Whitening::Kind::Triangular:
    return mapSquare(whitening).triangularView<Eigen::Lower>().solve<Eigen::OnTheRight>(matrix);
  case Whitening::Kind::Spectral: {
    Eigen::VectorXd scales = mapScales(whitening), inverse = Eigen::VectorXd::Zero(scales.size());
    for (int64_t i = 0; i < scales.size(); ++i)
      if (scales[i] > 1e-12 * scales.maxCoeff())
        inverse[i] = 1 / scales[i];
    return matrix * inverse.asDiagonal() * mapSquare(whitening).transpose();
  }
  }
  return matrix;
}

LowRank factor(const RowMajor &weights, const Whitening &whitening, int64_t rank) {
  assert(rank >= 0 && rank <= std::min(weights.rows(), weights.cols()) && whitening.channels == weights.cols());
  LowRank result{weights.rows(), weights.cols(), rank, {}, {}, {}};
  if (weights.size() == 0)
    return result;
  Eigen::BDCSVD<Eigen::MatrixXd> svd(whiten(weights, whitening), Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::VectorXd &values = svd.singularValues();
  Eigen::VectorXd roots = values.head(rank).cwiseSqrt();
  result.left = toVector(svd.matrixU().leftCols(rank) * roots.asDiagonal());
  result.right = toVector(unwhiten(roots.asDiagonal() * svd.matrixV().leftCols(rank).transpose(), whitening));
  result.singularValues.assign(values.data(), values.data() + values.size());
  return result;
}

ConstMap mapLeft(const LowRank &factors) { return map({factors.left.data(), factors.rows, factors.rank}); }
ConstMap mapRight(const LowRank &factors) { return map({factors.right.data(), factors.rank, factors.columns}); }

} // namespace

Whitening whitenNothing(int64_t channels) { return {Whitening::Kind::Identity, channels, {}, {}}; }

Whitening whitenChannels(const std::vector<float> &magnitudes, double alpha) {
  Whitening result{Whitening::Kind::Diagonal, static_cast<int64_t>(magnitudes.size()), {}, {}};
  for (float magnitude : magnitudes)
    result.scales.push_back(std::pow(static_cast<double>(magnitude), alpha) + 1e-6);
  return result;
}

Whitening whitenTriangular(MatrixViewF64 hessian) {
  Eigen::LLT<Eigen::MatrixXd> cholesky(map(hessian));
  // A pivot that is all rounding would make S⁻¹ meaningless.
  Eigen::VectorXd pivots = cholesky.matrixLLT().diagonal();
  if (cholesky.info() != Eigen::Success || !(pivots.minCoeff() > 1e-7 * pivots.maxCoeff()))
    return whitenSpectrum(hessian);
  return {Whitening::Kind::Triangular, hessian.rows(), {}, toVector(RowMajor(cholesky.matrixL()))};
}

Whitening whitenSpectrum(MatrixViewF64 hessian) {
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> eigen(map(hessian));
  Eigen::VectorXd scales = eigen.eigenvalues().cwiseMax(0).cwiseSqrt();
  return {Whitening::Kind::Spectral, hessian.rows(), {scales.data(), scales.data() + scales.size()},
          toVector(eigen.eigenvectors())};
}

std::vector<double> secondMoments(const Whitening &whitening) {
  RowMajor root = whiten(RowMajor::Identity(whitening.channels, whitening.channels), whitening);
  return toVector(root * root.transpose());
}

std::vector<double> LowRank::product() const { return toVector(mapLeft(*this) * mapRight(*this)); }

double LowRank::error() const {
  double sum = 0;
  for (size_t i = singularValues.size(); i-- > static_cast<size_t>(rank);)
    sum += singularValues[i] * singularValues[i];
  return sum;
}

LowRank factorLowRank(MatrixViewF64 weights, const Whitening &whitening, int64_t rank) {
  return factor(map(weights), whitening, rank);
}

void quantizeFactors(MatrixViewF64 target, MatrixViewF64 hessian, const QuantizeMatrix &quantize, LowRank &factors) {
  factors.right = quantize({factors.right.data(), factors.rank, factors.columns}, hessian);
  RowMajor products = mapRight(factors) * map(hessian), moments = products * mapRight(factors).transpose();
  RowMajor left = moments.completeOrthogonalDecomposition().solve(products * map(target).transpose()).transpose();
  factors.left = quantize(asView(left), asView(moments));
}

ResidualResult factorResidual(MatrixViewF64 weights, const Whitening &whitening, const ResidualOptions &options) {
  RowMajor target = map(weights), base = RowMajor::Zero(weights.rows(), weights.columns()), product = base;
  std::vector<double> moments = secondMoments(whitening);
  RowMajor hessian = map({moments.data(), whitening.channels, whitening.channels});
  LowRank factors;
  auto updateBase = [&] {
    RowMajor rest = target - product;
    std::vector<double> values = options.base(asView(rest), asView(hessian));
    base = map({values.data(), weights.rows(), weights.columns()});
  };
  auto updateFactors = [&] {
    RowMajor rest = target - base;
    factors = factor(rest, whitening, options.rank);
    if (options.factors)
      quantizeFactors(asView(rest), asView(hessian), options.factors, factors);
    product = mapLeft(factors) * mapRight(factors);
  };
  ResidualResult best;
  std::vector<double> errors;
  for (int i = 0; i < options.iterations; ++i) {
    if (options.baseFirst)
      updateBase();
    updateFactors();
    if (!options.baseFirst)
      updateBase();
    errors.push_back(whiten(target - base - product, whitening).squaredNorm());
    if (i > 0 && !(errors.back() < best.error))
      break;
    best = {toVector(base), factors, errors.back(), {}};
  }
  best.errors = std::move(errors);
  return best;
}

} // namespace quanta
