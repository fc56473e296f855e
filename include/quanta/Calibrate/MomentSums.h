//===- MomentSums.h - Adds up the moments of a layer's input --------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CALIBRATE_MOMENTSUMS_H
#define QUANTA_CALIBRATE_MOMENTSUMS_H

#include "quanta/Calibrate/Moments.h"
#include "quanta/Support/MatrixView.h"
#include "quanta/Support/Npy.h"
#include <optional>

namespace quanta {

/// Sums of products over rows. Rows are gathered into chunks of kMomentChunk; a chunk's products are added up in f32, chunks
/// in f64, in the order of the rows. So the result depends neither on how rows are batched nor on the number of threads.
///
/// Memory: 8·blocks·channels² bytes for each of fit, held-out and cross, and 4·kMomentChunk·blocks·channels for each of
/// three chunks (two without `cross`), twice that of one while it is added.
class MomentSums {
public:
  static constexpr int64_t kMomentChunk = 1024;

  MomentSums(int64_t channels, int64_t blocks, bool cross);

  /// Adds rows [n, blocks·channels]. `reference`: what the float model has in their place, needed with `cross`.
  void add(MatrixView rows, std::optional<MatrixView> reference, bool heldOut);
  /// Whether all values so far were finite.
  bool isFinite() const;
  /// Divides by the number of rows. The sums are gone afterwards.
  LayerMoments finish();

  /// Bytes that sums and chunks take; saturates.
  static uint64_t getBytes(int64_t channels, int64_t blocks, bool cross);

private:
  struct Part {
    std::vector<float> rows, reference; // gathered
    int64_t count = 0;
  };
  void flush(bool heldOut);

  LayerMoments moments;
  bool cross;
  Part parts[2];
  std::vector<double> absSums;
};

/// How a convolution walks over its input; a linear layer has none.
struct Window {
  int64_t kernel[2], strides[2], dilations[2];
  int64_t pads[4]; ///< top, left, bottom, right
};

/// The rows that a layer multiplies its weights with, of samples [begin, end) of `count` in `input` (f32): for a linear layer
/// those of its last dimension, for a convolution on [N, C, H, W] the patches [samples·OH·OW, C·KH·KW]. Patches are built in
/// `storage`. The samples must share the first dimension evenly.
llvm::Expected<MatrixView> getLayerRows(const Array &input, const std::optional<Window> &window, int64_t begin, int64_t end,
                                        int64_t count, std::vector<float> &storage);

} // namespace quanta

#endif // QUANTA_CALIBRATE_MOMENTSUMS_H
