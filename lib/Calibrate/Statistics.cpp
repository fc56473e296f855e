//===- Statistics.cpp - What calibration keeps of a layer's activations ---------------------------------------------------===//
#include "quanta/Calibrate/Statistics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/xxhash.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>

using namespace llvm;

namespace quanta {

//===- Histogram ----------------------------------------------------------------------------------------------------------===//

double Histogram::getWidth() const { return std::ldexp(2.0, exponent) / static_cast<double>(counts.size()); }

double Histogram::getCentre(size_t bin) const {
  return (static_cast<double>(bin) - static_cast<double>(counts.size() / 2) + 0.5) * getWidth();
}

void Histogram::widen(int newExponent) {
  if (newExponent <= exponent)
    return;
  int shift = std::min(newExponent - exponent, 62);
  exponent = newExponent;
  std::vector<uint64_t> wide(counts.size());
  int64_t middle = static_cast<int64_t>(counts.size() / 2);
  for (auto [bin, count] : enumerate(counts)) // the shift rounds down, so that negative bins stay negative
    wide[static_cast<size_t>(((static_cast<int64_t>(bin) - middle) >> shift) + middle)] += count;
  counts = std::move(wide);
}

void Histogram::add(ArrayRef<float> finite) {
  if (counts.empty() || finite.empty())
    return;
  float low = finite[0], high = finite[0];
  for (float value : finite) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  lowest = std::min(lowest, low);
  highest = std::max(highest, high);
  if (float largest = std::max(-low, high); largest > 0) {
    int needed;
    std::frexp(largest, &needed); // largest < 2^needed
    widen(needed);
  }
  double middle = static_cast<double>(counts.size() / 2);
  // A power of two: products with floats are exact in double precision.
  double scale = std::ldexp(middle, -exponent);
  for (float value : finite)
    ++counts[static_cast<size_t>(std::floor(value * scale) + middle)];
  total += finite.size();
}

void Histogram::merge(const Histogram &other) {
  widen(other.exponent);
  Histogram scaled = other;
  scaled.widen(exponent);
  for (auto [mine, theirs] : zip_equal(counts, scaled.counts))
    mine += theirs;
  total += other.total;
  lowest = std::min(lowest, other.lowest);
  highest = std::max(highest, other.highest);
}

double Histogram::quantile(double q) const {
  if (!total)
    return 0;
  double wanted = std::clamp(q, 0.0, 1.0) * static_cast<double>(total), below = 0;
  for (auto [bin, count] : enumerate(counts)) {
    double here = static_cast<double>(count);
    if (count && below + here >= wanted) {
      double value = getCentre(bin) + ((wanted - below) / here - 0.5) * getWidth();
      return std::clamp<double>(value, lowest, highest);
    }
    below += here;
  }
  return highest;
}

Histogram::Range Histogram::bestRange(unsigned bits, bool symmetric) const {
  assert(bits >= (symmetric ? 2 : 1) && bits <= 16 && "no such grid");
  if (!total)
    return {0, 0, 0};
  double low = std::min(0.0f, lowest), high = std::max(0.0f, highest);
  if (symmetric) {
    high = std::max(-low, high);
    low = -high;
  }
  if (low == high)
    return {low, high, 0};
  double steps =
      symmetric ? std::ldexp(2.0, static_cast<int>(bits) - 1) - 2 : std::ldexp(1.0, static_cast<int>(bits)) - 1;
  Range best = {low, high, std::numeric_limits<double>::infinity()};
  for (int percent = 100; percent > 0; --percent) {
    double from = low * percent / 100, to = high * percent / 100, step = (to - from) / steps, sum = 0;
    double zero = std::nearbyint(-from / step); // 0 is on the grid, as quantizers' zero points are integers
    for (auto [bin, count] : enumerate(counts)) {
      if (!count)
        continue;
      double value = std::clamp<double>(getCentre(bin), lowest, highest);
      double code = std::clamp(std::nearbyint(value / step) + zero, 0.0, steps);
      double error = value - (code - zero) * step;
      sum += error * error * static_cast<double>(count);
    }
    if (sum /= static_cast<double>(total); sum < best.meanSquaredError)
      best = {from, to, sum};
  }
  return best;
}

//===- Second moments -----------------------------------------------------------------------------------------------------===//

namespace {
constexpr int64_t kPanel = 8;       // channels that are packed side by side
constexpr int64_t kTilePanels = 8;  // panels of a task
constexpr int64_t kChunkRows = 256; // rows whose products are added up in registers
constexpr int64_t kMaxChannels = int64_t(1) << 24, kMaxBins = int64_t(1) << 24;

int64_t blockSizeOf(const StatisticsOptions &options) {
  return options.momentBlock > 0 ? std::min(options.momentBlock, options.channels) : options.channels;
}
int64_t triangle(int64_t size) { return size * (size + 1) / 2; }
uint64_t momentSizeOf(const StatisticsOptions &options) {
  if (options.moments == MomentPrecision::None)
    return 0;
  int64_t size = blockSizeOf(options);
  return static_cast<uint64_t>(options.channels / size * triangle(size) + triangle(options.channels % size));
}

template <typename T> struct VectorOf;
template <> struct VectorOf<float> { typedef float Type __attribute__((vector_size(32))); };
template <> struct VectorOf<double> { typedef double Type __attribute__((vector_size(32))); };

/// sums[i][j] = Σ_r left[r][i]·right[r][j] for four i and a panel of j. Each sum runs over r in order and no vector
/// runs along r, so the result does not depend on the width of the machine's vectors.
template <typename T>
__attribute__((always_inline)) inline void multiplyPanels(const T *left, const T *right, int64_t rows,
                                                          T (*sums)[kPanel]) {
  using Vector = typename VectorOf<T>::Type;
  constexpr int64_t kVectors = kPanel * int64_t(sizeof(T)) / int64_t(sizeof(Vector));
  Vector acc[4][kVectors] = {};
  for (int64_t r = 0; r < rows; ++r) {
    Vector values[kVectors];
    std::memcpy(values, right + r * kPanel, sizeof(values));
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t v = 0; v < kVectors; ++v)
        acc[i][v] += values[v] * left[r * kPanel + i];
  }
  std::memcpy(sums, acc, sizeof(acc));
}

template <typename T> void multiplyPlain(const T *left, const T *right, int64_t rows, T (*sums)[kPanel]) {
  multiplyPanels<T>(left, right, rows, sums);
}
#if defined(__x86_64__)
template <typename T>
__attribute__((target("avx2"))) void multiplyAvx2(const T *left, const T *right, int64_t rows, T (*sums)[kPanel]) {
  multiplyPanels<T>(left, right, rows, sums);
}
#endif

template <typename T> auto chooseMultiply() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2"))
    return &multiplyAvx2<T>;
#endif
  return &multiplyPlain<T>;
}

/// Adds the products of at most kChunkRows rows to the packed blocks.
template <typename T>
void addChunk(MatrixView rows, ArrayRef<float> weights, int64_t blockSize, MutableArrayRef<T> packed) {
  const static auto multiply = chooseMultiply<T>();
  int64_t channels = rows.columns(), count = rows.rows();
  int64_t blocks = (channels + blockSize - 1) / blockSize, panelsEach = (blockSize + kPanel - 1) / kPanel;
  size_t panelSize = static_cast<size_t>(count * kPanel);
  // Panels of a block start with it, and are filled up with zeros.
  std::vector<T> right(static_cast<size_t>(blocks * panelsEach) * panelSize), weighted;
  for (int64_t c = 0; c < channels; ++c) {
    int64_t block = c / blockSize, at = c % blockSize;
    T *to = right.data() + static_cast<size_t>(block * panelsEach + at / kPanel) * panelSize + at % kPanel;
    for (int64_t r = 0; r < count; ++r)
      to[r * kPanel] = rows(r, c);
  }
  if (!weights.empty()) {
    weighted = right;
    for (auto [i, value] : enumerate(weighted))
      value *= weights[i % panelSize / static_cast<size_t>(kPanel)];
  }
  const T *left = weights.empty() ? right.data() : weighted.data();

  int64_t tilesEach = (panelsEach + kTilePanels - 1) / kTilePanels, tasksEach = triangle(tilesEach);
  auto run = [&](size_t task) {
    int64_t block = static_cast<int64_t>(task) / tasksEach, rest = static_cast<int64_t>(task) % tasksEach, down = 0;
    for (; rest > down; ++down)
      rest -= down + 1;
    int64_t size = std::min(blockSize, channels - block * blockSize), panels = (size + kPanel - 1) / kPanel;
    T *out = packed.data() + block * triangle(blockSize);
    for (int64_t p = down * kTilePanels; p < std::min((down + 1) * kTilePanels, panels); ++p)
      for (int64_t q = rest * kTilePanels; q <= std::min((rest + 1) * kTilePanels - 1, p); ++q)
        for (int64_t part = 0; part < kPanel && p * kPanel + part < size; part += 4) {
          T sums[4][kPanel];
          multiply(left + static_cast<size_t>(block * panelsEach + p) * panelSize + part,
                   right.data() + static_cast<size_t>(block * panelsEach + q) * panelSize, count, sums);
          for (int64_t i = p * kPanel + part; i < std::min(p * kPanel + part + 4, size); ++i)
            for (int64_t j = q * kPanel; j < std::min((q + 1) * kPanel, i + 1); ++j)
              out[triangle(i) + j] += sums[i - p * kPanel - part][j - q * kPanel];
        }
  };
  // Tasks write different elements, so their order does not matter.
  size_t tasks = static_cast<size_t>(blocks * tasksEach);
  if (tasks == 1)
    run(0);
  else
    parallelFor(0, tasks, run);
}

template <typename T> void addTo(std::vector<T> &to, const std::vector<T> &from) {
  for (auto [mine, theirs] : zip_equal(to, from))
    mine += theirs;
}
} // namespace

void expandMoment(const Totals &totals, const StatisticsOptions &options, int half, int64_t block,
                  MutableArrayRef<double> result) {
  int64_t blockSize = blockSizeOf(options), size = std::min(blockSize, options.channels - block * blockSize);
  assert(options.moments != MomentPrecision::None && size > 0 && result.size() == static_cast<size_t>(size * size));
  size_t at = static_cast<size_t>(block * triangle(blockSize));
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j <= i; ++j, ++at) {
      double sum = 0;
      for (int h : {0, 1})
        if (half < 0 || half == h)
          sum += options.moments == MomentPrecision::F32 ? totals.moments[h].f32[at] : totals.moments[h].f64[at];
      result[static_cast<size_t>(i * size + j)] = result[static_cast<size_t>(j * size + i)] = sum;
    }
}

//===- Statistics ---------------------------------------------------------------------------------------------------------===//

bool StatisticsOptions::operator==(const StatisticsOptions &other) const {
  return std::tie(channels, samplesPerUnit, bins, moments, momentBlock) ==
         std::tie(other.channels, other.samplesPerUnit, other.bins, other.moments, other.momentBlock);
}

static bool isValid(const StatisticsOptions &options) {
  return options.channels > 0 && options.channels <= kMaxChannels && options.samplesPerUnit > 0 && options.bins >= 0 &&
         options.bins <= kMaxBins && options.bins != 1 && !(options.bins & (options.bins - 1)) &&
         options.momentBlock >= 0 && options.moments <= MomentPrecision::F64;
}

Expected<Statistics> Statistics::create(const StatisticsOptions &options, uint64_t fingerprint) {
  if (!isValid(options))
    return userError("statistics of " + Twine(options.channels) + " channels with " + Twine(options.bins) +
                     " bins and units of " + Twine(options.samplesPerUnit) +
                     " samples cannot be taken; there must be 1 to 2^24 channels, the bins a power of two up to 2^24");
  Statistics result;
  result.options = options;
  result.fingerprint = fingerprint;
  return result;
}

Totals Statistics::makeTotals() const {
  Totals totals;
  size_t channels = static_cast<size_t>(options.channels);
  totals.min.assign(channels, std::numeric_limits<float>::infinity());
  totals.max.assign(channels, -std::numeric_limits<float>::infinity());
  totals.absSum.assign(channels, 0);
  totals.sum.assign(channels, 0);
  totals.squareSum.assign(channels, 0);
  totals.histogram = Histogram(options.bins);
  for (SecondMoment &moment : totals.moments) {
    if (options.moments == MomentPrecision::F32)
      moment.f32.assign(momentSizeOf(options), 0);
    if (options.moments == MomentPrecision::F64)
      moment.f64.assign(momentSizeOf(options), 0);
  }
  return totals;
}

void Statistics::addRows(Totals &totals, int half, MatrixView rows, ArrayRef<float> weights) const {
  size_t channels = static_cast<size_t>(options.channels);
  totals.rows += static_cast<uint64_t>(rows.rows());
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const float *row = rows.row(r);
    for (size_t c = 0; c < channels; ++c) {
      double value = row[c];
      totals.min[c] = std::min(totals.min[c], row[c]);
      totals.max[c] = std::max(totals.max[c], row[c]);
      totals.absSum[c] += std::fabs(value);
      totals.sum[c] += value;
      totals.squareSum[c] += value * value;
    }
    totals.histogram.add({row, channels});
  }
  if (options.moments == MomentPrecision::None)
    return;
  SecondMoment &moment = totals.moments[half];
  moment.rows += static_cast<uint64_t>(rows.rows());
  for (int64_t begin = 0; begin < rows.rows(); begin += kChunkRows) {
    int64_t count = std::min(kChunkRows, rows.rows() - begin);
    MatrixView chunk = rows.block(begin, 0, count, options.channels);
    ArrayRef<float> some =
        weights.empty() ? weights : weights.slice(static_cast<size_t>(begin), static_cast<size_t>(count));
    for (int64_t r = 0; r < count; ++r)
      moment.weight += some.empty() ? 1.0 : static_cast<double>(some[static_cast<size_t>(r)]);
    if (options.moments == MomentPrecision::F32)
      addChunk<float>(chunk, some, blockSizeOf(options), moment.f32);
    else
      addChunk<double>(chunk, some, blockSizeOf(options), moment.f64);
  }
}

void Statistics::addTotals(Totals &to, const Totals &from) {
  to.rows += from.rows;
  for (auto [mine, theirs] : zip_equal(to.min, from.min))
    mine = std::min(mine, theirs);
  for (auto [mine, theirs] : zip_equal(to.max, from.max))
    mine = std::max(mine, theirs);
  addTo(to.absSum, from.absSum);
  addTo(to.sum, from.sum);
  addTo(to.squareSum, from.squareSum);
  to.histogram.merge(from.histogram);
  for (int half : {0, 1}) {
    to.moments[half].rows += from.moments[half].rows;
    to.moments[half].weight += from.moments[half].weight;
    addTo(to.moments[half].f32, from.moments[half].f32);
    addTo(to.moments[half].f64, from.moments[half].f64);
  }
}

void Statistics::joinUnits() {
  auto first = states.find(0);
  if (first == states.end())
    return;
  State &joined = first->second;
  while (joined.end % options.samplesPerUnit == 0) {
    auto next = states.find(joined.end);
    // A unit that is still in work would be added in two parts.
    if (next == states.end() || next->second.end - next->first != options.samplesPerUnit)
      return;
    addTotals(joined.totals, next->second.totals);
    joined.end = next->second.end;
    states.erase(next);
  }
}

Error Statistics::add(int64_t sample, MatrixView rows, ArrayRef<float> weights) {
  if (sample < 0 || sample == std::numeric_limits<int64_t>::max())
    return userError("sample " + Twine(sample) + " does not exist");
  if (rows.columns() != options.channels || (!weights.empty() && static_cast<int64_t>(weights.size()) != rows.rows()))
    return userError("sample " + Twine(sample) + ": " + Twine(rows.rows()) + " rows of " + Twine(rows.columns()) +
                     " channels with " + Twine(weights.size()) + " weights do not fit statistics of " +
                     Twine(options.channels) + " channels");
  for (int64_t r = 0; r < rows.rows(); ++r) {
    for (int64_t c = 0; c < rows.columns(); ++c)
      if (!std::isfinite(rows(r, c)))
        return userError("sample " + Twine(sample) + ": channel " + Twine(c) + " of row " + Twine(r) + " is " +
                         (std::isnan(rows(r, c)) ? "NaN" : "infinite"));
    if (!weights.empty() && !(weights[static_cast<size_t>(r)] >= 0 && std::isfinite(weights[static_cast<size_t>(r)])))
      return userError("sample " + Twine(sample) + ": the weight of row " + Twine(r) + " is negative or not finite");
  }
  auto after = states.upper_bound(sample);
  State *state = after == states.begin() ? nullptr : &std::prev(after)->second;
  if (state && state->end > sample)
    return userError("sample " + Twine(sample) + " was added already");
  if (sample % options.samplesPerUnit == 0)
    state = &states.try_emplace(sample, State{sample, makeTotals()}).first->second;
  else if (!state || state->end != sample)
    return userError("sample " + Twine(sample) + " was added before the one in front of it");
  addRows(state->totals, static_cast<int>(sample % 2), rows, weights);
  state->end = sample + 1;
  joinUnits();
  return Error::success();
}

Error Statistics::addBatch(int64_t firstSample, int64_t samples, MatrixView rows, ArrayRef<float> weights) {
  if (samples < 1 || rows.rows() % samples || (!weights.empty() && static_cast<int64_t>(weights.size()) != rows.rows()))
    return userError(Twine(rows.rows()) + " rows with " + Twine(weights.size()) + " weights are not those of " +
                     Twine(samples) + " samples");
  int64_t each = rows.rows() / samples;
  for (int64_t i = 0; i < samples; ++i)
    if (Error error =
            add(firstSample + i, rows.block(i * each, 0, each, rows.columns()),
                weights.empty() ? weights : weights.slice(static_cast<size_t>(i * each), static_cast<size_t>(each))))
      return error;
  return Error::success();
}

Error Statistics::merge(Statistics other) {
  if (!(options == other.options) || fingerprint != other.fingerprint)
    return userError("statistics of different models, data or options cannot be merged");
  for (const auto &[begin, state] : other.states) {
    auto after = states.lower_bound(state.end);
    if (after != states.begin() && std::prev(after)->second.end > begin)
      return userError("samples from " + Twine(std::max(begin, std::prev(after)->first)) +
                       " on are in both of two statistics to be merged");
  }
  for (auto &[begin, state] : other.states)
    states.try_emplace(begin, std::move(state));
  joinUnits();
  return Error::success();
}

int64_t Statistics::getSampleCount() const {
  int64_t count = 0;
  for (const auto &[begin, state] : states)
    count += state.end - begin;
  return count;
}

bool Statistics::contains(int64_t sample) const {
  auto after = states.upper_bound(sample);
  return after != states.begin() && std::prev(after)->second.end > sample;
}

bool Statistics::covers(const Statistics &other) const {
  return all_of(other.states, [&](const auto &entry) {
    int64_t at = entry.first;
    for (auto next = states.upper_bound(at); next != states.begin() && at < entry.second.end;
         next = states.upper_bound(at)) {
      if (std::prev(next)->second.end <= at)
        return false;
      at = std::prev(next)->second.end;
    }
    return at >= entry.second.end;
  });
}

int64_t Statistics::getPrefix() const {
  int64_t end = 0;
  for (const auto &[begin, state] : states) {
    if (begin != end)
      return -1;
    end = state.end;
  }
  return end;
}

Totals Statistics::getTotals() const {
  Statistics copy = *this;
  return copy.takeTotals();
}

Totals Statistics::takeTotals() {
  if (states.empty())
    return makeTotals();
  Totals result = std::move(states.begin()->second.totals);
  states.erase(states.begin());
  while (!states.empty()) {
    addTotals(result, states.begin()->second.totals);
    states.erase(states.begin());
  }
  return result;
}

//===- Files --------------------------------------------------------------------------------------------------------------===//
//
// Little-endian: magic, version, fingerprint, options, number of states, the states by first sample, checksum. The
// sizes follow from the options, so a file's size is checked before anything is read.

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "statistics are written as they lie in memory, which must be little-endian"
#endif

namespace {
constexpr char kMagic[8] = {'Q', 'S', 'T', 'A', 'T', 'S', '\r', '\n'};
constexpr uint64_t kVersion = 1;
constexpr uint64_t kHeaderBytes = 9 * 8, kChecksumBytes = 8;

/// Each field is hashed by itself, so that large ones need not be gathered.
class Checksum {
public:
  void add(const void *data, size_t bytes) {
    uint64_t both[2] = {value, xxh3_64bits(ArrayRef(static_cast<const uint8_t *>(data), bytes))};
    value = xxh3_64bits(ArrayRef(reinterpret_cast<const uint8_t *>(both), sizeof(both)));
  }
  uint64_t get() const { return value; }

private:
  uint64_t value = 0;
};

class Writer {
public:
  explicit Writer(raw_ostream &os) : os(os) {}
  void bytes(const void *data, size_t size) {
    os.write(static_cast<const char *>(data), size);
    checksum.add(data, size);
  }
  template <typename T> void operator()(const T &value) { bytes(&value, sizeof(T)); }
  template <typename T> void operator()(const std::vector<T> &values) {
    bytes(values.data(), values.size() * sizeof(T));
  }

  raw_ostream &os;
  Checksum checksum;
};

/// The caller has checked the size.
class Reader {
public:
  explicit Reader(StringRef rest) : rest(rest) {}
  void bytes(void *data, size_t size) {
    assert(size <= rest.size());
    if (size)
      std::memcpy(data, rest.data(), size);
    checksum.add(data, size);
    rest = rest.drop_front(size);
  }
  template <typename T> void operator()(T &value) { bytes(&value, sizeof(T)); }
  template <typename T> void operator()(std::vector<T> &values) { bytes(values.data(), values.size() * sizeof(T)); }

  StringRef rest;
  Checksum checksum;
};

/// The fields of a state in the file's order.
template <typename Fn, typename T> void visitTotals(T &totals, Fn &field) {
  field(totals.rows);
  field(totals.min);
  field(totals.max);
  field(totals.absSum);
  field(totals.sum);
  field(totals.squareSum);
  for (auto &moment : totals.moments) {
    field(moment.rows);
    field(moment.weight);
    field(moment.f32);
    field(moment.f64);
  }
}
} // namespace

struct Statistics::Header {
  StatisticsOptions options;
  uint64_t fingerprint = 0, states = 0;
};

static uint64_t bytesOfState(const StatisticsOptions &options) {
  uint64_t channels = static_cast<uint64_t>(options.channels),
           element = options.moments == MomentPrecision::F32 ? 4 : 8;
  return 2 * 8 + 8 + 32 * channels + 2 * (16 + element * momentSizeOf(options)) + // samples, totals
         8 + 8 + 2 * 4 + 8 * static_cast<uint64_t>(options.bins);                 // histogram
}

uint64_t Statistics::getStateBytes(const StatisticsOptions &options) {
  return kHeaderBytes + bytesOfState(options) + kChecksumBytes;
}

void Statistics::serialize(raw_ostream &os) const {
  Writer write(os);
  write.bytes(kMagic, sizeof(kMagic));
  write(kVersion);
  write(fingerprint);
  for (int64_t value : {options.channels, options.samplesPerUnit, options.bins, static_cast<int64_t>(options.moments),
                        options.momentBlock, static_cast<int64_t>(states.size())})
    write(value);
  for (const auto &[begin, state] : states) {
    write(begin);
    write(state.end);
    visitTotals(state.totals, write);
    const Histogram &histogram = state.totals.histogram;
    write(static_cast<int64_t>(histogram.exponent));
    write(histogram.total);
    write(histogram.lowest);
    write(histogram.highest);
    write(histogram.counts);
  }
  uint64_t checksum = write.checksum.get();
  os.write(reinterpret_cast<const char *>(&checksum), sizeof(checksum));
}

Expected<Statistics::Header> Statistics::readHeader(StringRef bytes, StringRef name) {
  auto damaged = [&](const Twine &why) {
    return userError("'" + name + "' " + why + "; remove it to take the statistics again");
  };
  if (!bytes.starts_with(StringRef(kMagic, sizeof(kMagic))))
    return damaged("is not a file of statistics");
  if (bytes.size() < kHeaderBytes + kChecksumBytes)
    return damaged("is cut off");
  Reader read(bytes.drop_front(sizeof(kMagic)));
  uint64_t version;
  int64_t moments, states;
  Header header;
  read(version);
  if (version != kVersion)
    return damaged("has version " + Twine(version) + " where " + Twine(kVersion) + " is known");
  read(header.fingerprint);
  read(header.options.channels);
  read(header.options.samplesPerUnit);
  read(header.options.bins);
  read(moments);
  read(header.options.momentBlock);
  read(states);
  if (moments < 0 || moments > static_cast<int64_t>(MomentPrecision::F64) || states < 0)
    return damaged("is damaged");
  header.options.moments = static_cast<MomentPrecision>(moments);
  header.states = static_cast<uint64_t>(states);
  if (!isValid(header.options))
    return damaged("is damaged");
  uint64_t size = bytes.size() - kHeaderBytes - kChecksumBytes, each = bytesOfState(header.options);
  if (size % each || size / each != header.states)
    return damaged("is cut off or damaged");
  return header;
}

Expected<uint64_t> Statistics::parseHeader(StringRef bytes, StringRef name) {
  Expected<Header> header = readHeader(bytes, name);
  if (!header)
    return header.takeError();
  return header->fingerprint;
}

Expected<Statistics> Statistics::parse(StringRef bytes, StringRef name) {
  Expected<Header> header = readHeader(bytes, name);
  if (!header)
    return header.takeError();
  Statistics result;
  result.options = header->options;
  result.fingerprint = header->fingerprint;
  auto damaged = [&] { return userError("'" + name + "' is damaged; remove it to take the statistics again"); };

  Reader read(bytes);
  uint64_t fields[kHeaderBytes / 8];
  read.bytes(fields, 8); // in the pieces that were written, as the checksum needs it
  for (uint64_t &field : MutableArrayRef(fields).drop_front())
    read(field);
  int64_t before = 0, unit = result.options.samplesPerUnit;
  for (uint64_t i = 0; i < header->states; ++i) {
    int64_t begin, exponent;
    State state;
    read(begin);
    read(state.end);
    // Only the state that starts with sample 0 holds more than a unit.
    if (begin < before || begin % unit || state.end <= begin ||
        (state.end - begin > unit && (begin || state.end % unit)))
      return damaged();
    before = state.end;
    state.totals = result.makeTotals();
    visitTotals(state.totals, read);
    Histogram &histogram = state.totals.histogram;
    read(exponent);
    read(histogram.total);
    read(histogram.lowest);
    read(histogram.highest);
    read(histogram.counts);
    if (exponent < Histogram::kNoExponent || exponent > std::numeric_limits<float>::max_exponent)
      return damaged();
    histogram.exponent = static_cast<int>(exponent);
    result.states.try_emplace(begin, std::move(state));
  }
  uint64_t checksum = read.checksum.get(), stored;
  read(stored);
  if (stored != checksum)
    return damaged();
  result.joinUnits();
  return result;
}

} // namespace quanta
