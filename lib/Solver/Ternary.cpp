//===- Ternary.cpp - Weights of −α, 0 and α -----------------------------------------------------------------------===//
#include "quanta/Solver/Ternary.h"
#include "WeightMatrix.h"
#include <cmath>
#include <functional>
#include <numeric>

namespace quanta {

namespace {
/// Codes are −1 below −threshold, 1 above it and 0 between.
struct Fit {
  double threshold = 0, scale = 0;
};

double median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2)
    return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

/// round(w/γ) is not zero where |w|/γ > 1/2: the tie goes to even, which is zero.
Fit fitRounding(double gamma) { return {0.5 * (gamma + 1e-5), gamma}; }

Fit fitTwn(const std::vector<double> &magnitudes, double mean) {
  Fit fit{0.7 * mean, 0};
  int64_t kept = 0;
  for (double magnitude : magnitudes)
    if (magnitude > fit.threshold) {
      fit.scale += magnitude;
      ++kept;
    }
  fit.scale /= static_cast<double>(std::max<int64_t>(kept, 1));
  return fit;
}

/// With the k largest kept and α their mean, Σ(w − αt)² = Σw² − (Σ_k|w|)²/k.
Fit fitOptimal(std::vector<double> magnitudes) {
  std::sort(magnitudes.begin(), magnitudes.end(), std::greater<>());
  Fit fit{INFINITY, 0};
  double sum = 0, best = 0;
  for (size_t k = 1; k <= magnitudes.size(); ++k) {
    sum += magnitudes[k - 1];
    double gain = sum * sum / static_cast<double>(k);
    if (gain > best) {
      best = gain;
      // Equal magnitudes are kept together: gain is convex in k along a run of them, and cannot peak inside it.
      fit = {std::nextafter(magnitudes[k - 1], 0.0), sum / static_cast<double>(k)};
    }
  }
  return fit;
}

Fit fitMagnitudes(const std::vector<double> &magnitudes, TernaryRule rule) {
  double mean = std::accumulate(magnitudes.begin(), magnitudes.end(), 0.0) / static_cast<double>(magnitudes.size());
  switch (rule) {
  case TernaryRule::AbsMean:
    return fitRounding(mean);
  case TernaryRule::AbsMedian:
    return fitRounding(median(magnitudes));
  case TernaryRule::Twn:
    return fitTwn(magnitudes, mean);
  case TernaryRule::Optimal:
    return fitOptimal(magnitudes);
  }
  return {};
}

class TernarySolver {
public:
  TernarySolver(MatrixView weights, TernaryResult &result) : weights(weights), result(result) {}

  void solve() {
    bool whole = result.options.group < 0;
    for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow)
      for (int64_t group = 0; group < result.groups; ++group) {
        int64_t begin = group * result.groupColumns, end = std::min(begin + result.groupColumns, result.columns);
        float &scale = result.scales[static_cast<size_t>(scaleRow * result.groups + group)];
        scale = solveGroup(whole ? 0 : scaleRow, whole ? result.rows : scaleRow + 1, begin, end);
      }
  }

private:
  float solveGroup(int64_t rowBegin, int64_t rowEnd, int64_t begin, int64_t end) {
    std::vector<double> magnitudes;
    for (int64_t row = rowBegin; row < rowEnd; ++row)
      for (int64_t column = begin; column < end; ++column)
        magnitudes.push_back(std::fabs(weights(row, column)));
    Fit fit = fitMagnitudes(magnitudes, result.options.rule);
    double product = 0;
    int64_t kept = 0;
    for (int64_t row = rowBegin; row < rowEnd; ++row)
      for (int64_t column = begin; column < end; ++column) {
        double weight = weights(row, column);
        int code = (weight > fit.threshold) - (weight < -fit.threshold);
        result.codes[static_cast<size_t>(row * result.columns + column)] = static_cast<uint8_t>(code + 1);
        product += weight * code;
        kept += code != 0;
      }
    if (result.options.leastSquares)
      fit.scale = product / static_cast<double>(std::max<int64_t>(kept, 1));
    return storeScale(fit.scale, result.options.halfScale, result.needsF32Scale);
  }

  MatrixView weights;
  TernaryResult &result;
};

/// One row of refineTernary: the residual's product G = (w − αt)H is kept while codes change.
class RowDescent {
public:
  RowDescent(const float *weights, BasicMatrixView<const double> hessian, uint8_t *codes)
      : weights(weights), hessian(hessian), codes(codes), gradient(static_cast<size_t>(hessian.columns())) {}

  /// ⟨wH,t⟩/⟨tH,t⟩, the least of the error in α. A negative one becomes positive with the opposite codes.
  double bestScale(double fallback) {
    double numerator = 0, denominator = 0;
    for (int64_t i = 0; i < hessian.rows(); ++i)
      if (codes[i] != 1)
        for (int64_t j = 0; j < hessian.columns(); ++j) {
          numerator += (codes[i] - 1) * hessian(i, j) * weights[j];
          denominator += (codes[i] - 1) * hessian(i, j) * (codes[j] - 1);
        }
    if (!(denominator > 0))
      return fallback;
    if (numerator < 0)
      std::transform(codes, codes + hessian.columns(), codes, [](uint8_t code) { return uint8_t(2 - code); });
    return std::fabs(numerator) / denominator;
  }

  /// A change of the residual by d in column j changes the error by 2dG_j + d²H_jj. Returns the error.
  double descend(double scale) {
    double error = start(scale);
    for (int64_t j = 0; j < hessian.columns(); ++j) {
      int best = codes[j];
      double gain = 0;
      for (int code = 0; code < 3; ++code) {
        double d = scale * (codes[j] - code), change = 2 * d * gradient[static_cast<size_t>(j)] + d * d * hessian(j, j);
        if (change < gain) {
          gain = change;
          best = code;
        }
      }
      if (best == codes[j])
        continue;
      double d = scale * (codes[j] - best);
      for (int64_t k = 0; k < hessian.columns(); ++k)
        gradient[static_cast<size_t>(k)] += d * hessian(j, k);
      codes[j] = static_cast<uint8_t>(best);
      error += gain;
    }
    return error;
  }

  double start(double scale) {
    std::fill(gradient.begin(), gradient.end(), 0);
    for (int64_t i = 0; i < hessian.rows(); ++i)
      for (int64_t j = 0; j < hessian.columns(); ++j)
        gradient[static_cast<size_t>(j)] += (weights[i] - scale * (codes[i] - 1)) * hessian(i, j);
    double error = 0;
    for (int64_t j = 0; j < hessian.columns(); ++j)
      error += (weights[j] - scale * (codes[j] - 1)) * gradient[static_cast<size_t>(j)];
    return error;
  }

private:
  const float *weights;
  BasicMatrixView<const double> hessian;
  uint8_t *codes;
  std::vector<double> gradient;
};
} // namespace

float TernaryResult::decode(int64_t row, int64_t column) const {
  int64_t scaleRow = scaleRows == 1 ? 0 : row, group = groupColumns ? column / groupColumns : 0;
  return scales[static_cast<size_t>(scaleRow * groups + group)] *
         static_cast<float>(codes[static_cast<size_t>(row * columns + column)] - 1);
}

int64_t TernaryResult::storedBits() const {
  return rows * ((columns + 4) / 5) * 8 + scaleRows * groups * (options.halfScale ? 16 : 32);
}

TernaryResult quantizeTernary(MatrixView weights, const TernaryOptions &options) {
  assert(options.group >= -1);
  TernaryResult result;
  result.options = options;
  result.rows = weights.rows();
  result.columns = weights.columns();
  setGroups(result, options.group);
  result.scaleRows = options.group < 0 ? std::min<int64_t>(result.rows, 1) : result.rows;
  result.nonFinite = !isFinite(weights);
  if (result.nonFinite)
    return result;
  result.codes.resize(static_cast<size_t>(result.rows * result.columns));
  result.scales.resize(static_cast<size_t>(result.scaleRows * result.groups));
  TernarySolver(weights, result).solve();
  result.error = relativeError(toDouble(weights), decodeAll(result));
  return result;
}

double refineTernary(MatrixView weights, BasicMatrixView<const double> hessian, TernaryResult &result, int iterations) {
  assert(result.options.group == 0 && hessian.rows() == result.columns && hessian.columns() == result.columns);
  double error = 0;
  for (int64_t row = 0; row < result.rows && result.columns > 0; ++row) {
    RowDescent descent(weights.row(row), hessian, result.codes.data() + row * result.columns);
    float &scale = result.scales[static_cast<size_t>(row)];
    for (int i = 0; i < iterations; ++i) {
      scale = storeScale(descent.bestScale(scale), result.options.halfScale, result.needsF32Scale);
      descent.descend(scale);
    }
    scale = storeScale(descent.bestScale(scale), result.options.halfScale, result.needsF32Scale);
    error += descent.start(scale);
  }
  result.error = relativeError(toDouble(weights), decodeAll(result));
  return error;
}

std::vector<uint8_t> packTernary2(const std::vector<uint8_t> &codes) {
  std::vector<uint8_t> bytes((codes.size() + 3) / 4);
  for (size_t i = 0; i < codes.size(); ++i)
    bytes[i / 4] = static_cast<uint8_t>(bytes[i / 4] | codes[i] << (2 * (i % 4)));
  return bytes;
}

std::vector<uint8_t> unpackTernary2(const std::vector<uint8_t> &bytes, int64_t count) {
  std::vector<uint8_t> codes(static_cast<size_t>(count));
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = bytes[i / 4] >> (2 * (i % 4)) & 3;
  return codes;
}

std::vector<uint8_t> packTernary243(const std::vector<uint8_t> &codes) {
  std::vector<uint8_t> bytes((codes.size() + 4) / 5);
  for (size_t byte = 0; byte < bytes.size(); ++byte) {
    int number = 0;
    for (size_t i = 5 * byte; i < 5 * byte + 5; ++i)
      number = 3 * number + (i < codes.size() ? codes[i] : 1); // pads with the weight 0
    bytes[byte] = static_cast<uint8_t>((number * 256 + 242) / 243);
  }
  return bytes;
}

std::vector<uint8_t> unpackTernary243(const std::vector<uint8_t> &bytes, int64_t count) {
  std::vector<uint8_t> codes;
  for (unsigned fraction : bytes)
    for (int digit = 0; digit < 5 && static_cast<int64_t>(codes.size()) < count; ++digit) {
      codes.push_back(static_cast<uint8_t>(fraction * 3 >> 8));
      fraction = fraction * 3 & 255;
    }
  return codes;
}

int roundToPowerOfTwo(double &value, int lowest, int highest) {
  double magnitude = std::fabs(value);
  double exponent = std::clamp<double>(std::nearbyint(std::log2(std::max(magnitude, 1e-300))), lowest, highest);
  bool zero = magnitude < std::exp2(lowest - 0.5);
  value = zero ? 0 : std::copysign(std::exp2(exponent), value);
  return static_cast<int>(exponent);
}

} // namespace quanta
