//===- Fits.cpp - How times grow with sizes -------------------------------------------------------------------------------===//
#include "quanta/Allocate/Latency.h"
#include "quanta/Benchmark/Benchmark.h"
#include "quanta/Support/LatencyRows.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>
#include <map>

llvm::Error mlir::quanta::printLatencyFits(llvm::StringRef path, llvm::raw_ostream &os) {
  auto rows = ::quanta::readLatencyRows(path);
  if (!rows)
    return rows.takeError();
  std::map<std::tuple<std::string, std::string, int64_t, int64_t>, std::map<std::pair<int64_t, int64_t>, std::vector<double>>> formats;
  for (const ::quanta::LatencyRow &row : *rows)
    formats[{row.encoding.empty() ? "f32" : row.encoding, row.activation, row.shape[0], row.threads}][{row.shape[1], row.shape[2]}].push_back(row.ns);
  for (auto &[format, shapes] : formats) {
    std::vector<std::pair<double, double>> sizes;
    for (auto &[shape, times] : shapes)
      sizes.push_back({double(shape.first) * double(shape.second), ::quanta::medianOf(times)});
    auto &[encoding, activation, tokens, threads] = format;
    os << llvm::formatv("{0} {1} {2} tokens t{3}: ", encoding, activation, tokens, threads);
    auto fit = ::quanta::fitLatency(sizes);
    if (!fit) {
      os << "one size, no line\n";
      continue;
    }
    os << llvm::formatv("{0:f2} us + {1:f4} ns a weight, {2} sizes, off by up to {3:f1}%", fit->overhead * 1e-3, fit->perWeight, sizes.size(),
                      100 * fit->worst);
    double worst = -1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::vector<std::pair<double, double>> others = sizes;
      others.erase(others.begin() + i);
      if (auto without = ::quanta::fitLatency(others))
        worst = std::max(worst, std::fabs(without->predict(sizes[i].first) / sizes[i].second - 1));
    }
    if (worst >= 0)
      os << llvm::formatv("; at a size left out by up to {0:f1}%", 100 * worst);
    os << "\n";
  }
  return llvm::Error::success();
}
