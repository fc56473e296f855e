//===- Sensitivity.cpp - How much a layer matters, without solving it -----------------------------------------------===//
#include "quanta/Allocate/Sensitivity.h"
#include <cmath>

namespace quanta {

double layerModification(BasicMatrixView<const double> input, BasicMatrixView<const double> output) {
  assert(input.rows() == output.rows() && input.columns() == output.columns());
  double product = 0, inputs = 0, outputs = 0;
  for (int64_t row = 0; row < input.rows(); ++row)
    for (int64_t column = 0; column < input.columns(); ++column) {
      double x = input(row, column), y = output(row, column);
      product += x * y;
      inputs += x * x;
      outputs += y * y;
    }
  double norm = std::sqrt(inputs) * std::sqrt(outputs);
  return norm > 0 ? -product / norm : 0;
}

double zScoreShare(MatrixView weights, double threshold) {
  double count = static_cast<double>(weights.rows()) * static_cast<double>(weights.columns());
  if (count == 0)
    return 0;
  auto sum = [&](auto term) {
    double total = 0;
    for (int64_t row = 0; row < weights.rows(); ++row)
      for (int64_t column = 0; column < weights.columns(); ++column)
        total += term(static_cast<double>(weights(row, column)));
    return total;
  };
  double mean = sum([](double w) { return w; }) / count;
  double deviation = std::sqrt(sum([&](double w) { return (w - mean) * (w - mean); }) / count);
  return sum([&](double w) { return w - mean > threshold * deviation ? 1.0 : 0.0; }) / count;
}

double weightTrace(BasicMatrixView<const double> hessian, int64_t outputs) {
  double trace = 0;
  for (int64_t i = 0; i < hessian.rows(); ++i)
    trace += hessian(i, i);
  return static_cast<double>(outputs) * trace;
}

std::vector<double> pairInteractions(double base, const std::vector<double> &single, BasicMatrixView<const double> both) {
  size_t n = single.size();
  std::vector<double> result(n * n);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j)
      result[i * n + j] = result[j * n + i] =
          both(static_cast<int64_t>(i), static_cast<int64_t>(j)) - single[i] - single[j] + base;
  return result;
}

} // namespace quanta
