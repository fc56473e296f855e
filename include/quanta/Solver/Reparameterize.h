//===- Reparameterize.h - A grid for each channel becomes one for the layer -----------------------------------*- C++ -*-===//
//
// Z. Li et al., RepQ-ViT: Scale Reparameterization for Post-Training Quantization of Vision Transformers, 2022, Eq. 6–11.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SOLVER_REPARAMETERIZE_H
#define QUANTA_SOLVER_REPARAMETERIZE_H

#include "quanta/Support/MatrixView.h"
#include <vector>

namespace quanta {

/// Channels x with grids x̂ = scaleⱼ · (q − zeroⱼ) are replaced by x/factorⱼ − shiftⱼ, which all have the grid (scale, zero).
struct Reparameterization {
  std::vector<double> factors, shifts;
  double scale = 0, zero = 0;
};

/// The means of scales (above 0) and zeros; `integerZero` rounds the mean zero.
Reparameterization reparameterize(const std::vector<double> &scales, const std::vector<double> &zeros, bool integerZero);

/// Of the norm that makes the channels: scale and shift.
void applyToNorm(const Reparameterization &change, double *scale, double *shift);
/// Of a layer that reads them: weights [outputs, channels] and bias. Exact but for rounding.
void applyToReader(const Reparameterization &change, BasicMatrixView<double> weights, double *bias);

} // namespace quanta

#endif // QUANTA_SOLVER_REPARAMETERIZE_H
