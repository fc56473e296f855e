//===- Sketch.cpp - Keys as signs of random projections, and as latent vectors --------------------------------------------===//
#include "quanta/Solver/Sketch.h"
#include <cmath>
#include <random>

namespace quanta {

/// Standard normal (Box, Muller 1958): the library's own distribution differs from one to the next.
static double drawNormal(std::mt19937_64 &random) {
  auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  double radius = std::sqrt(-2 * std::log(uniform()));
  return radius * std::cos(2 * std::acos(-1.0) * uniform());
}

std::vector<double> makeSketch(int64_t channels, int64_t copies, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> rows(static_cast<size_t>(copies * channels * channels));
  for (double &value : rows)
    value = drawNormal(random);
  auto dot = [&](const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < channels; ++i)
      sum += a[i] * b[i];
    return sum;
  };
  for (int64_t row = 0; row < copies * channels; ++row) {
    double *self = &rows[row * channels];
    // Gram-Schmidt, twice: once leaves rounding errors of nearly dependent rows.
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t other = row / channels * channels; other < row; ++other) {
        double along = dot(self, &rows[other * channels]) / static_cast<double>(channels);
        for (int64_t i = 0; i < channels; ++i)
          self[i] -= along * rows[other * channels + i];
      }
    double factor = std::sqrt(static_cast<double>(channels) / dot(self, self));
    for (int64_t i = 0; i < channels; ++i)
      self[i] *= factor;
  }
  return rows;
}

std::vector<double> project(MatrixViewF64 projection, const double *x) {
  std::vector<double> result(projection.rows());
  for (int64_t i = 0; i < projection.rows(); ++i)
    for (int64_t j = 0; j < projection.columns(); ++j)
      result[i] += projection(i, j) * x[j];
  return result;
}

KeySketch sketchKey(MatrixViewF64 projection, const double *key) {
  KeySketch sketch;
  for (double value : project(projection, key))
    sketch.bits.push_back(value >= 0);
  for (int64_t j = 0; j < projection.columns(); ++j)
    sketch.norm += key[j] * key[j];
  sketch.norm = std::sqrt(sketch.norm);
  return sketch;
}

double estimateScore(const std::vector<double> &projectedQuery, const KeySketch &key) {
  double sum = 0;
  for (size_t i = 0; i < projectedQuery.size(); ++i)
    sum += key.bits[i] ? projectedQuery[i] : -projectedQuery[i];
  return std::sqrt(std::acos(-1.0) / 2) / static_cast<double>(projectedQuery.size()) * key.norm * sum;
}

std::vector<double> absorbIntoQuery(MatrixViewF64 expansion, const double *query) {
  std::vector<double> result(expansion.columns());
  for (int64_t i = 0; i < expansion.rows(); ++i)
    for (int64_t j = 0; j < expansion.columns(); ++j)
      result[j] += expansion(i, j) * query[i];
  return result;
}

} // namespace quanta
