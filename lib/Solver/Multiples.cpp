//===- Multiples.cpp - Scales of groups as multiples of a row's -----------------------------------------------------------===//
#include "quanta/Solver/Multiples.h"
#include "EigenViews.h"
#include <cstring>

namespace quanta {

namespace {
/// The search around one row scale at a time.
class MultipleSearch {
public:
  MultipleSearch(const std::vector<double> &scales, MatrixViewF64 errors, const UniformOptions &options)
      : target(Eigen::Map<const Eigen::VectorXd>(scales.data(), static_cast<Eigen::Index>(scales.size()))), errors(map(errors)),
        options(options), most((1 << options.multiples) - 1) {}

  RowMultiples search(double start) {
    constexpr int kSteps = 16;
    best.multiples.assign(static_cast<size_t>(target.size()), 1);
    double largest = target.size() ? target.maxCoeff() : 0;
    if (!(largest > 0))
      return best;
    for (int i = 0; i <= kSteps; ++i)
      descend(largest / (most * (0.5 + static_cast<double>(i) / kSteps)));
    if (start > 0)
      descend(start);
    return best;
  }

private:
  /// Multiples nearest to the targets, then in turns better ones and a better scale.
  void descend(double scale) {
    bool lost = false;
    float s = store(scale, lost);
    Eigen::VectorXd m(target.size());
    for (Eigen::Index g = 0; g < m.size(); ++g)
      m(g) = nearest(s > 0 ? target(g) / s : 1);
    for (int turn = 0; turn < 3; ++turn) {
      improve(s, m);
      double square = m.dot(errors * m);
      if (square > 0)
        s = store(m.dot(errors * target) / square, lost);
      keepBetter(s, m, lost);
    }
  }

  void improve(double s, Eigen::VectorXd &m) const {
    Eigen::VectorXd gradient = errors * (target - s * m);
    bool changed = true;
    for (int pass = 0; changed && pass < 4; ++pass) {
      changed = false;
      for (Eigen::Index g = 0; g < m.size(); ++g) {
        double curvature = errors(g, g);
        if (!(s > 0) || !(curvature > 0))
          continue;
        double change = nearest(m(g) + gradient(g) / (s * curvature)) - m(g), d = s * change;
        if (!(2 * d * gradient(g) - d * d * curvature > 0))
          continue;
        m(g) += change;
        gradient -= d * errors.col(g);
        changed = true;
      }
    }
  }

  void keepBetter(float s, const Eigen::VectorXd &m, bool lost) {
    Eigen::VectorXd difference = target - s * m;
    double error = difference.dot(errors * difference);
    if (!(s > 0) || !(error < least))
      return;
    least = error;
    best.scale = s;
    best.needsF32Scale = lost;
    for (Eigen::Index g = 0; g < m.size(); ++g)
      best.multiples[static_cast<size_t>(g)] = static_cast<uint8_t>(m(g));
  }

  double nearest(double multiple) const { return std::clamp<double>(std::nearbyint(multiple), 1, most); }

  /// An f32 without its last 7 bits, so that products with multiples of 7 bits are exact.
  float store(double value, bool &lost) const {
    float stored = storeUniform(value, options, lost);
    if (options.halfScale)
      return stored;
    uint32_t bits;
    std::memcpy(&bits, &stored, sizeof bits);
    bits &= ~127u;
    std::memcpy(&stored, &bits, sizeof bits);
    return stored;
  }

  Eigen::VectorXd target;
  ConstMap errors;
  const UniformOptions &options;
  const int most;
  RowMultiples best;
  double least = INFINITY;
};
} // namespace

RowMultiples fitMultiples(const std::vector<double> &scales, MatrixViewF64 errors, const UniformOptions &options, double start) {
  assert(options.multiples >= 1 && options.multiples <= 7);
  return MultipleSearch(scales, errors, options).search(start);
}

void MultipleFitter::add(const UniformGrid &grid, MatrixViewF64 weights, const double *importance) {
  double curvature = 0;
  for (int64_t row = 0; row < weights.rows(); ++row)
    for (int64_t column = 0; column < weights.columns(); ++column) {
      double level = uniformLevel(encodeUniform(weights(row, column), grid, options), grid, options);
      curvature += (importance ? importance[column] : 1) * level * level;
    }
  grids.push_back(grid);
  curvatures.push_back(curvature);
}

std::vector<UniformGrid> MultipleFitter::fit() {
  size_t groups = grids.size();
  std::vector<double> scales, errors(groups * groups);
  for (size_t g = 0; g < groups; ++g) {
    scales.push_back(grids[g].scale);
    errors[g * groups + g] = curvatures[g];
  }
  auto count = static_cast<int64_t>(groups);
  RowMultiples found = fitMultiples(scales, {errors.data(), count, count}, options);
  for (size_t g = 0; g < groups; ++g) {
    grids[g].multiple = found.multiples[g];
    grids[g].scale = found.scale * static_cast<float>(found.multiples[g]);
    grids[g].needsF32Scale |= found.needsF32Scale;
  }
  curvatures.clear();
  return std::move(grids);
}

} // namespace quanta
