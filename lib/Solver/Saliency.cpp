//===- Saliency.cpp - Which weights matter most -------------------------------------------------------------------===//
#include "quanta/Solver/Saliency.h"
#include "quanta/Format/SparseLayout.h"
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace quanta {

std::vector<double> magnitudeSaliency(MatrixView weights) {
  std::vector<double> saliency;
  saliency.reserve(static_cast<size_t>(weights.rows() * weights.columns()));
  for (int64_t row = 0; row < weights.rows(); ++row)
    for (int64_t column = 0; column < weights.columns(); ++column)
      saliency.push_back(std::fabs(weights(row, column)));
  return saliency;
}

std::vector<double> hessianSaliency(MatrixView weights, const std::vector<double> &factorDiagonal) {
  assert(static_cast<int64_t>(factorDiagonal.size()) == weights.columns());
  std::vector<double> saliency;
  saliency.reserve(static_cast<size_t>(weights.rows() * weights.columns()));
  for (int64_t row = 0; row < weights.rows(); ++row)
    for (int64_t column = 0; column < weights.columns(); ++column) {
      double scaled = weights(row, column) / factorDiagonal[static_cast<size_t>(column)];
      saliency.push_back(scaled * scaled);
    }
  return saliency;
}

std::vector<double> columnSaliency(MatrixView weights, const std::vector<double> &hessianDiagonal) {
  assert(static_cast<int64_t>(hessianDiagonal.size()) == weights.columns());
  std::vector<double> saliency(hessianDiagonal.size(), 0);
  for (int64_t row = 0; row < weights.rows(); ++row)
    for (size_t column = 0; column < saliency.size(); ++column) {
      double weight = weights.row(row)[column];
      saliency[column] += weight * weight;
    }
  std::transform(saliency.begin(), saliency.end(), hessianDiagonal.begin(), saliency.begin(), std::multiplies<>());
  return saliency;
}

std::vector<uint8_t> elementMask(MatrixViewF64 saliency, double lowFraction, int64_t group) {
  int64_t rows = saliency.rows(), columns = saliency.columns();
  group = group > 0 ? group : std::max<int64_t>(columns, 1);
  std::vector<uint8_t> mask(static_cast<size_t>(rows * columns));
  std::vector<double> scores;
  for (int64_t begin = 0; begin < columns && rows > 0; begin += group) {
    int64_t end = std::min(begin + group, columns);
    scores.clear();
    for (int64_t row = 0; row < rows; ++row)
      scores.insert(scores.end(), saliency.row(row) + begin, saliency.row(row) + end);
    // The published code reads past the end with lowFraction = 1.
    auto size = static_cast<double>(scores.size());
    auto rank = static_cast<int64_t>(std::clamp(size * lowFraction, 0.0, size - 1));
    std::nth_element(scores.begin(), scores.begin() + rank, scores.end());
    double threshold = scores[static_cast<size_t>(rank)];
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t column = begin; column < end; ++column)
        mask[static_cast<size_t>(row * columns + column)] = saliency(row, column) > threshold;
  }
  return mask;
}

std::vector<uint8_t> columnMask(MatrixViewF64 saliency, double fraction) {
  std::vector<double> sums(static_cast<size_t>(saliency.columns()), 0);
  for (int64_t row = 0; row < saliency.rows(); ++row)
    std::transform(sums.begin(), sums.end(), saliency.row(row), sums.begin(), std::plus<>());
  auto columns = static_cast<double>(sums.size());
  auto kept = static_cast<int64_t>(std::clamp(std::nearbyint(columns * fraction), 0.0, columns));
  return tileMask({sums.data(), 1, saliency.columns()}, std::max<int64_t>(saliency.columns(), 1), kept);
}

std::vector<uint8_t> activationMask(const std::vector<double> &activationMax, double fraction) {
  std::vector<double> maxima = activationMax;
  for (double &maximum : maxima)
    maximum = std::max(maximum, 1e-5);
  std::vector<double> sorted = maxima;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  std::vector<uint8_t> mask(maxima.size());
  if (maxima.empty())
    return mask;
  auto columns = static_cast<double>(maxima.size());
  double threshold = sorted[static_cast<size_t>(std::clamp(columns * fraction, 0.0, columns - 1))];
  std::transform(maxima.begin(), maxima.end(), mask.begin(), [&](double maximum) { return maximum >= threshold; });
  return mask;
}

std::vector<uint8_t> tileMask(MatrixViewF64 saliency, int64_t tile, int64_t kept) {
  assert(tile > 0 && kept >= 0);
  int64_t columns = saliency.columns();
  std::vector<uint8_t> mask(static_cast<size_t>(saliency.rows() * columns));
  std::vector<int64_t> order;
  for (int64_t row = 0; row < saliency.rows(); ++row)
    for (int64_t begin = 0; begin < columns; begin += tile) {
      order.resize(static_cast<size_t>(std::min(tile, columns - begin)));
      std::iota(order.begin(), order.end(), begin);
      std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return std::make_pair(-saliency(row, a), a) < std::make_pair(-saliency(row, b), b);
      });
      order.resize(std::min(order.size(), static_cast<size_t>(kept)));
      for (int64_t column : order)
        mask[static_cast<size_t>(row * columns + column)] = 1;
    }
  return mask;
}

int64_t maskBits(MaskIndex index, int64_t rows, int64_t columns, int64_t salient, int64_t tile, int64_t kept) {
  switch (index) {
  case MaskIndex::None:
    return 0;
  case MaskIndex::Bitmap:
    return rows * columns;
  case MaskIndex::Csr:
    return 16 * salient + 32 * (rows + 1);
  case MaskIndex::BlockLocal:
    return 7 * salient + 8 * rows * ((columns + 127) / 128);
  case MaskIndex::Tile: {
    int64_t last = columns % tile;
    return rows * (columns / tile * choiceBits(tile, std::min(kept, tile)) + choiceBits(last, std::min(kept, last)));
  }
  case MaskIndex::Column:
    return columns;
  }
  return 0;
}

} // namespace quanta
