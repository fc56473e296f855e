//===- Moments.h - What the solvers know of a layer's input ---------------------------------------------------*- C++ -*-===//
//
// Second moments of the rows x [channels] that a layer multiplies its weights with: tokens, pixels, or the patches of a
// convolution in in·kh·kw order. A grouped convolution has a square block on the diagonal for each group.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_MOMENTS_H
#define QUANTA_CALIBRATE_MOMENTS_H

#include "quanta/Support/Error.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <vector>

namespace quanta {

struct LayerMoments {
  int64_t channels = 0; ///< of a block
  int64_t blocks = 1;
  uint64_t fitRows = 0, heldOutRows = 0;
  std::vector<double> fit;     ///< Σ xxᵀ / fitRows over 7/8 of the samples; [blocks, channels, channels], full symmetric
  std::vector<double> heldOut; ///< the same over every eighth sample; zero without rows
  /// Σ x_float·xᵀ / fitRows over the fit samples (rows of the matrix: x_float, what the float model has where the quantized
  /// one has x); empty unless calibration is sequential.
  std::vector<double> cross;
  /// Over all samples: largest and mean |x|; [blocks · channels].
  std::vector<float> absMax, absMean;
};

/// Little-endian, with a checksum: a file that was cut off or damaged is an error.
llvm::Expected<LayerMoments> loadMoments(llvm::StringRef path);
/// Files appear complete or not at all. The sizes must agree.
llvm::Error saveMoments(const LayerMoments &moments, llvm::StringRef path);

} // namespace quanta

#endif // QUANTA_CALIBRATE_MOMENTS_H
