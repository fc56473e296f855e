//===- Sketch.cpp - Keys as signs of random projections, and as latent vectors --------------------------------------------===//
#include "quanta/Solver/Sketch.h"
#include <cmath>

namespace quanta {

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
