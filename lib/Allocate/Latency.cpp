//===- Latency.cpp - Time of a kernel as a function of its size -------------------------------------------------------===//
#include "quanta/Allocate/Latency.h"
#include <algorithm>
#include <cmath>

namespace quanta {

std::optional<LatencyFit> fitLatency(const std::vector<std::pair<double, double>> &measured) {
  if (std::none_of(measured.begin(), measured.end(), [&](const auto &row) { return row.first != measured.front().first; }))
    return std::nullopt;
  // Minimizes Σ (a·u + b·v − 1)² with u = 1/ns and v = weights/ns.
  double uu = 0, uv = 0, vv = 0, u1 = 0, v1 = 0;
  for (auto [weights, ns] : measured) {
    double u = 1 / ns, v = weights / ns;
    uu += u * u, uv += u * v, vv += v * v, u1 += u, v1 += v;
  }
  LatencyFit fit;
  double determinant = uu * vv - uv * uv;
  fit.overhead = (u1 * vv - v1 * uv) / determinant;
  fit.perWeight = (v1 * uu - u1 * uv) / determinant;
  // The optimum with a ≥ 0 and b ≥ 0 lies on the edge that the free one is behind.
  if (fit.overhead < 0)
    fit = {0, v1 / vv, 0};
  else if (fit.perWeight < 0)
    fit = {u1 / uu, 0, 0};
  for (auto [weights, ns] : measured)
    fit.worst = std::max(fit.worst, std::fabs(fit.predict(weights) / ns - 1));
  return fit;
}

double medianOf(std::vector<double> values) {
  auto middle = values.begin() + (values.size() - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

} // namespace quanta
