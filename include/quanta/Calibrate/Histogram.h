//===- Histogram.h - How the values of an activation are distributed -----------------------------------------*- C++ -*-===//
#ifndef QUANTA_CALIBRATE_HISTOGRAM_H
#define QUANTA_CALIBRATE_HISTOGRAM_H

#include "llvm/ADT/ArrayRef.h"
#include <limits>
#include <vector>

namespace quanta {

/// Counts in equal bins of [-2^e, 2^e), where 2^e is the smallest power of two above every |x|. As edges stay edges
/// when e grows, the counts depend on the values alone, not on their order.
class Histogram {
public:
  /// `bins`: a power of two.
  explicit Histogram(int64_t bins = 8192) : counts(static_cast<size_t>(bins)) {}

  void add(llvm::ArrayRef<float> finite);

  uint64_t getTotal() const { return total; }
  float getMin() const { return lowest; }
  float getMax() const { return highest; }

  /// A grid of equal steps: its levels are low, low + step, …, of which an integer number of steps lies above or below 0.
  struct Grid {
    double step;
    int64_t zero; ///< the level that stands for 0, counted from the lowest; may lie outside
    double meanSquaredError; ///< of the bins' centres
  };
  /// The grid of so many levels (2 or more) over the whole range, which with `throughZero` is widened to contain 0.
  Grid wholeGrid(int64_t levels, bool throughZero) const;
  /// The one with the least mean squared error among those over the whole range with both ends moved inwards alike, then each
  /// alone, by 0 %, 1 %, … of the range (with `throughZero` of their distance from 0); the widest of equal ones.
  Grid bestGrid(int64_t levels, bool throughZero) const;

private:
  void widen(int newExponent);
  double getWidth() const;
  double getCentre(size_t bin) const;
  std::pair<double, double> wholeRange(bool throughZero) const;
  Grid makeGrid(double low, double high, int64_t levels) const;

  // Below the exponent of every float.
  static constexpr int kNoExponent = -200;
  int exponent = kNoExponent;
  uint64_t total = 0;
  float lowest = std::numeric_limits<float>::infinity(), highest = -std::numeric_limits<float>::infinity();
  std::vector<uint64_t> counts;
};

} // namespace quanta

#endif // QUANTA_CALIBRATE_HISTOGRAM_H
