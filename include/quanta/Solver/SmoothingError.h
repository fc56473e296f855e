//===- SmoothingError.h - What scales of channels do to the error of quantized layers -------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_SMOOTHINGERROR_H
#define QUANTA_SOLVER_SMOOTHINGERROR_H

#include <cstdint>
#include <vector>

namespace quanta {

/// A weight [rows, columns], row-major, whose column j is multiplied by the scale of channels[j]; −1: by none.
struct SmoothedReader {
  std::vector<float> weights;
  std::vector<int32_t> channels;
};

/// What the channels of the layers' input are on the data, before they are divided by scales.
struct SmoothedInput {
  std::vector<double> absMax, meanSquare;
};

struct SmoothingFormat {
  unsigned weightBits = 4, actBits = 0; ///< actBits = 0: floats
  int64_t group = 0;                    ///< columns of a weight that share a scale; 0: a row
};

/// The expected squared error of the readers' outputs, summed over rows, if weights become round(w·s / step) and inputs round(x/s /
/// step): a step of the range of each group of columns, and of the largest input; channels are taken for independent, so
///   Σ (round(w·s) − w·s)² · E[xⱼ²]/sⱼ² + (w·s)² · min(step_x²/12, E[xⱼ²]/sⱼ²).
/// As the search of AWQ (J. Lin et al., 2023), without running the layer. The same for k·s as for s. O(weights).
double predictSmoothingError(const std::vector<SmoothedReader> &readers, const SmoothedInput &input, const std::vector<double> &scales,
                             const SmoothingFormat &format);

/// The scales of the least error among sⱼ = maxⱼ|x|^α / maxⱼ|w|^β, α in twentieths from 0 to 1, β = 1 − α (SmoothQuant, Eq. 4) or 0 (AWQ,
/// Eq. 5), and sⱼ = 1, which stands for α = β = 0. weightMax: of all weights that read a channel. Channels without values or weights keep 1.
struct SmoothingChoice {
  std::vector<double> scales;
  double alpha = 0, beta = 0, error = 0, unscaledError = 0;
};
SmoothingChoice searchSmoothing(const std::vector<SmoothedReader> &readers, const SmoothedInput &input, const std::vector<double> &weightMax,
                                const SmoothingFormat &format);

} // namespace quanta

#endif // QUANTA_SOLVER_SMOOTHINGERROR_H
