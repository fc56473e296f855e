//===- Histogram.cpp - How the values of an activation are distributed ----------------------------------------------------===//
#include "quanta/Calibrate/Histogram.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>

using namespace llvm;

namespace quanta {

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

std::pair<double, double> Histogram::wholeRange(bool throughZero) const {
  if (!total)
    return {0, 0};
  return throughZero ? std::pair<double, double>(std::min(0.0f, lowest), std::max(0.0f, highest))
                     : std::pair<double, double>(lowest, highest);
}

Histogram::Grid Histogram::makeGrid(double low, double high, int64_t levels) const {
  // Steps so small that zero points would not fit are no use, either.
  double greatest = std::max(std::abs(low), std::abs(high));
  double step = std::max({(high - low) / double(levels - 1), greatest / (1 << 19), 1e-30});
  Grid grid{step, static_cast<int64_t>(std::nearbyint(-low / step)), 0};
  for (auto [bin, count] : enumerate(counts)) {
    if (!count)
      continue;
    double value = std::clamp<double>(getCentre(bin), lowest, highest);
    double code = std::clamp(std::nearbyint(value / step) + double(grid.zero), 0.0, double(levels - 1));
    double error = value - (code - double(grid.zero)) * step;
    grid.meanSquaredError += error * error * double(count);
  }
  if (total)
    grid.meanSquaredError /= double(total);
  return grid;
}

Histogram::Grid Histogram::wholeGrid(int64_t levels, bool throughZero) const {
  auto [low, high] = wholeRange(throughZero);
  return makeGrid(low, high, levels);
}

Histogram::Grid Histogram::bestGrid(int64_t levels, bool throughZero) const {
  auto [low, high] = wholeRange(throughZero);
  Grid best = makeGrid(low, high, levels);
  if (getWidth() > best.step)
    return best; // bins say nothing about errors within a step
  double middle = throughZero ? 0 : (low + high) / 2, bestLow = low, bestHigh = high;
  auto search = [&](bool moveLow, bool moveHigh) {
    double startLow = bestLow, startHigh = bestHigh;
    for (int percent = 99; percent > 0; --percent) {
      double from = moveLow ? middle + (startLow - middle) * percent / 100 : startLow;
      double to = moveHigh ? middle + (startHigh - middle) * percent / 100 : startHigh;
      if (Grid grid = makeGrid(from, to, levels); grid.meanSquaredError < best.meanSquaredError)
        best = grid, bestLow = from, bestHigh = to;
    }
  };
  search(true, true);
  search(true, false);
  search(false, true);
  return best;
}

} // namespace quanta
