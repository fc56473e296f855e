//===- Sketch.h - Keys as signs of random projections, and as latent vectors ----------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_SKETCH_H
#define QUANTA_SOLVER_SKETCH_H

#include "quanta/Solver/Sweep.h"
#include <cstdint>
#include <vector>

namespace quanta {

/// Directions S [copies · d, d] for a sketch: blocks of d rows that are orthogonal, each of length √d, at random from a seed, the
/// same on every machine. So ‖S·x‖ = √(copies · d) · ‖x‖. Their estimate varies less than that of independent rows, and is too
/// large by no more than 1 + 1/(2d). At most 4096 channels, O(copies · d³).
std::vector<double> makeSketch(int64_t channels, int64_t copies, uint64_t seed);

/// A key of d channels as m bits and its length (QJL, Zandieh et al. 2024): bit i is whether (S·k)ᵢ ≥ 0, with S [m, d] of
/// independent standard normal entries.
struct KeySketch {
  std::vector<uint8_t> bits;
  double norm = 0;
};
KeySketch sketchKey(MatrixViewF64 projection, const double *key);

/// An estimate of q·k without bias, √(π/2)/m · ‖k‖ · Σᵢ ±(S·q)ᵢ, with a deviation of at most √(π/(2m)) · ‖q‖·‖k‖.
/// `projectedQuery` is S·q, which serves all keys.
double estimateScore(const std::vector<double> &projectedQuery, const KeySketch &key);

/// S·x.
std::vector<double> project(MatrixViewF64 projection, const double *x);

/// With keys k = A·z of few latent channels (A [d, r]), q·k = (Aᵀ·q)·z: what the query becomes, so that a cache can hold z
/// (ASVD, Yuan et al. 2023). Only where nothing, as a rotary embedding, lies between A and the product.
std::vector<double> absorbIntoQuery(MatrixViewF64 expansion, const double *query);

} // namespace quanta

#endif // QUANTA_SOLVER_SKETCH_H
