//===- Statistics.h - What calibration keeps of a layer's activations -----------------------------------------*- C++ -*-===//
//
// States over the rows of a matrix [rows, channels] that are added sample by sample and merged.
//
// Sums of floating-point numbers depend on their order, and N processes that share the samples must give the bytes of
// one process. So samples belong to units of `samplesPerUnit`; within a unit samples come in order, to one process, and
// units are added up from the first to the last. A state whose units have gaps keeps those behind the first gap apart
// until the missing ones are merged in. Hence merging is associative and commutative to the byte.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_STATISTICS_H
#define QUANTA_CALIBRATE_STATISTICS_H

#include "quanta/Support/Error.h"
#include "quanta/Support/MatrixView.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <limits>
#include <map>
#include <vector>

namespace quanta {

/// Type in which products are formed and added up.
enum class MomentPrecision : uint8_t { None, F32, F64 };

struct StatisticsOptions {
  int64_t channels = 0;
  int64_t samplesPerUnit = 16;
  /// Of the histogram: a power of two, or 0 for no histogram.
  int64_t bins = 8192;
  MomentPrecision moments = MomentPrecision::None;
  /// Keep only the diagonal blocks of XᵀX of this many channels (the last may be smaller), as grouped convolutions
  /// need; 0: the whole matrix.
  int64_t momentBlock = 0;

  bool operator==(const StatisticsOptions &other) const;
};

/// Counts in equal bins of [-2^e, 2^e), where 2^e is the smallest power of two above every |x|. As edges stay edges
/// when e grows, the counts depend on the values alone, not on their order.
class Histogram {
public:
  Histogram() = default;
  explicit Histogram(int64_t bins) : counts(static_cast<size_t>(bins)) {}

  void add(llvm::ArrayRef<float> finite);
  void merge(const Histogram &other);

  uint64_t getTotal() const { return total; }
  float getMin() const { return lowest; }
  float getMax() const { return highest; }
  /// The value with a share `q` (0 to 1) of all values below it, interpolated within a bin; 0 if there are no values.
  double quantile(double q) const;

  struct Range {
    double low, high;
    double meanSquaredError; ///< of the bins' centres
  };
  /// The clipping range of a uniform grid of `bits` bits with the least mean squared error among the whole range shrunk
  /// to 1%, 2%, ... 100%; the widest of equal ones. Symmetric grids are ±(2^(bits-1)-1) steps; others contain 0.
  Range bestRange(unsigned bits, bool symmetric) const;

private:
  friend class Statistics;
  void widen(int newExponent);
  double getWidth() const;
  double getCentre(size_t bin) const;

  // Below the exponent of every float.
  static constexpr int kNoExponent = -200;
  int exponent = kNoExponent;
  uint64_t total = 0;
  float lowest = std::numeric_limits<float>::infinity(), highest = -std::numeric_limits<float>::infinity();
  std::vector<uint64_t> counts;
};

/// Σ w·xᵀx over rows x; the lower triangles of the diagonal blocks, row by row.
struct SecondMoment {
  uint64_t rows = 0;
  double weight = 0; ///< Σ w
  // The one of the precision has elements.
  std::vector<float> f32;
  std::vector<double> f64;
};

/// What a set of samples amounts to.
struct Totals {
  uint64_t rows = 0;
  // By channel. Without rows min is +infinity and max -infinity.
  std::vector<float> min, max;
  std::vector<double> absSum, sum, squareSum;
  Histogram histogram;
  /// Of samples with an even number and an odd one: what is fitted to one half is scored on the other.
  SecondMoment moments[2];

  double getAbsMean(int64_t channel) const { return rows ? absSum[static_cast<size_t>(channel)] / double(rows) : 0; }
};

/// Copies block `block` of XᵀX to the full symmetric matrix `result`, row-major; `half` -1 is the sum of both.
void expandMoment(const Totals &totals, const StatisticsOptions &options, int half, int64_t block,
                  llvm::MutableArrayRef<double> result);

/// Memory, with C channels and b = 4 or 8 bytes: 32·C + 8·bins + about b·C² (half of it for each half-set; with blocks
/// of B channels b·B·C) for each state. A run over consecutive samples holds two states: what is complete, and the unit
/// in work; a process that has part of the units holds one for each.
class Statistics {
public:
  /// `fingerprint` stands for all that the numbers depend on: model, layer, data, recipe. Only equal ones merge.
  static llvm::Expected<Statistics> create(const StatisticsOptions &options, uint64_t fingerprint);

  const StatisticsOptions &getOptions() const { return options; }
  uint64_t getFingerprint() const { return fingerprint; }

  /// Adds all rows of a sample. The first sample of a unit may come at any time, the others after their predecessors.
  /// `weights`: of the rows in the second moment; empty: 1. Refuses what is not finite, and changes nothing then.
  llvm::Error add(int64_t sample, MatrixView rows, llvm::ArrayRef<float> weights = {});
  /// The same for `samples` samples with equally many rows each. The result does not depend on how samples are batched.
  /// An error keeps the samples before it.
  llvm::Error addBatch(int64_t firstSample, int64_t samples, MatrixView rows, llvm::ArrayRef<float> weights = {});

  /// Refuses other options, another fingerprint and samples that are in both, and changes nothing then.
  llvm::Error merge(Statistics other);

  int64_t getSampleCount() const;
  bool contains(int64_t sample) const;
  /// Whether every sample of `other` is in this.
  bool covers(const Statistics &other) const;
  /// Samples [0, N) are there, and none is beyond N: the N; else -1.
  int64_t getPrefix() const;

  /// Everything added up.
  Totals getTotals() const;
  /// The same without a copy; this is empty afterwards.
  Totals takeTotals();

  /// Bytes of a file with one state: also about the memory that a state takes.
  static uint64_t getStateBytes(const StatisticsOptions &options);

  void serialize(llvm::raw_ostream &os) const;
  /// `name` stands for the file in messages. Anything but the bytes of serialize() is an error.
  static llvm::Expected<Statistics> parse(llvm::StringRef bytes, llvm::StringRef name);
  /// Checks all but the contents of the states, without reading them; returns the fingerprint.
  static llvm::Expected<uint64_t> parseHeader(llvm::StringRef bytes, llvm::StringRef name);

private:
  struct State {
    int64_t end = 0; // samples [key, end)
    Totals totals;
  };
  struct Header;
  static llvm::Expected<Header> readHeader(llvm::StringRef bytes, llvm::StringRef name);

  Totals makeTotals() const;
  void addRows(Totals &totals, int half, MatrixView rows, llvm::ArrayRef<float> weights) const;
  static void addTotals(Totals &to, const Totals &from);
  void joinUnits();

  StatisticsOptions options;
  uint64_t fingerprint = 0;
  // By first sample: the units from 0 to the first gap as one, then each by itself.
  std::map<int64_t, State> states;
};

} // namespace quanta

#endif // QUANTA_CALIBRATE_STATISTICS_H
