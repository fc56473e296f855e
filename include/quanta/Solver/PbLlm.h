//===- PbLlm.h - Partially binarized weights ------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_PBLLM_H
#define QUANTA_SOLVER_PBLLM_H

#include "quanta/Solver/Binary.h"
#include "quanta/Solver/Saliency.h"

namespace quanta {

struct PbLlmOptions {
  bool hessianSaliency = true; ///< w²/U_jj², else |w|
  double lowFraction = 0.9;    ///< of the weights are binary, by elementMask
  int64_t tile = 0, kept = 0;  ///< if tile is not 0: by tileMask instead
  unsigned highBits = 8;       ///< of a salient weight, 2 to 8
  double highMargin = 0;       ///< widens the range of the salient weights, which compensation can make clip
  int64_t group = 0;           ///< columns that share a mask threshold, μ and α; 0: all
  BinaryScale scale = BinaryScale::Exact;
  bool mean = true;
  /// Factors of α, of which the one with the least loss is taken: with compensation a smaller α than that of the
  /// weights is often better, since the compensated weights are not those it was computed from. One sweep each.
  std::vector<double> multipliers = {0.6, 0.7, 0.8, 0.9, 1.0, 1.1};
  bool compensate = true;              ///< by the sweep, else round to nearest
  bool halfScale = true;               ///< scales and means are stored as f16, else f32
  MaskIndex index = MaskIndex::Bitmap; ///< how the mask is stored; Tile only with tile
};

/// Salient weights are highScale·(code − highZero) of their row; the others are mean + scale or mean − scale (code 1,
/// 0).
struct PbLlmResult {
  PbLlmOptions options;
  int64_t rows = 0, columns = 0;
  int64_t groupColumns = 0, groups = 0;
  std::vector<uint8_t> salient, codes; ///< [rows, columns]
  std::vector<float> scales, means;    ///< [rows, groups], exactly representable in their type; no means without mean
  std::vector<float> highScales;       ///< [rows]
  std::vector<uint8_t> highZeros;      ///< [rows]
  double multiplier = 1;               ///< the one that was taken
  double loss = 0;            ///< tr((W − Ŵ)·H·(W − Ŵ)ᵀ) with the damped H and dead columns of W zero
  double error = 0;           ///< Σ(w − ŵ)²/Σw²
  bool nonFinite = false;     ///< the matrix holds an infinity or NaN; nothing else is set
  bool needsF32Scale = false; ///< as in UniformResult

  float decode(int64_t row, int64_t column) const;
  int64_t storedBits() const;
};

/// A bit a binary weight, highBits a salient one, the mask, μ and α of `scaleBits` bits for each of `groups` groups of
/// a row (or only α), a scale and a zero of `scaleBits` bits for each row.
int64_t pbLlmBits(int64_t rows, int64_t columns, int64_t salient, unsigned highBits, int64_t groups, bool mean,
                  unsigned scaleBits, int64_t maskBits);

/// PB-LLM's PB-GPTQ. In this order: the range of each row, salient or not; the mask of all groups; μ and α of all
/// groups from the original weights; the sweep, which keeps the mask but not the signs.
PbLlmResult quantizePbLlm(MatrixView weights, const HessianFactor &factor, const PbLlmOptions &options);

} // namespace quanta

#endif // QUANTA_SOLVER_PBLLM_H
