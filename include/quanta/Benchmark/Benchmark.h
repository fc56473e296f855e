//===- Benchmark.h - Kernels against the limits of the machine ------------------------------------------------*- C++ -*-===//
//
// A row of a table is a kernel: linear layers with random encoded weights, compiled as any model is, and run so that their
// weights come from where the row says. Rows are measured in turn with limits of the same machine, which are compiled the
// same way: the rate at which it reads what the row reads, and the rates of its multiplications.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_BENCHMARK_BENCHMARK_H
#define QUANTA_BENCHMARK_BENCHMARK_H

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <limits>
#include <string>
#include <vector>

namespace mlir::quanta {

/// What a row's rate of operations is compared with.
enum class Peak { Float, Integer, Popcount, Matrix, BFloat, BFloatMatrix };

struct BenchmarkRow {
  std::string suite;
  std::string format;   ///< short name, as s4g128
  std::string encoding; ///< of the weights, as an attribute; empty: f32
  std::string activation; ///< f32, bf16, int8-token (a scale a token) or sign
  int64_t m, n, k;       ///< y[m, n] = x[m, k] · Wᵀ
  bool cold;             ///< walk over so many weights that none is cached
  Peak peak;
  int64_t mostLayers = std::numeric_limits<int64_t>::max(); ///< that a cold row walks over; each is compiled
};

/// The rows of a suite (gemv-cold, gemv-hot, gemm, binary); an error names the suites there are.
llvm::Expected<std::vector<BenchmarkRow>> getBenchmarkRows(llvm::StringRef suite);

/// The linear layers of a quantc report, `tokens` rows at a time: each shape with the encoding that it has, or with all that an allocation
/// could choose from. Their weights lie where those of the whole model would (BenchmarkOptions::coldBytes).
llvm::Expected<std::vector<BenchmarkRow>> getLayerRows(llvm::StringRef path, int64_t tokens, int64_t &modelBytes);

struct BenchmarkOptions {
  std::vector<int> threads = {1, 2};
  std::string cpu = "native";
  /// Weights that a cold row walks over.
  int64_t coldBytes = 512ll << 20;
  unsigned repeats = 11;
};

/// A system's recorded time for what a row computes, on the machine that Peers.def names.
struct PeerTime {
  std::string name;
  double seconds;
};

/// What is recorded for a row (Peers.def).
std::vector<PeerTime> getPeers(const BenchmarkRow &row, int threads);

struct BenchmarkResult {
  const BenchmarkRow *row;
  std::string target, where; ///< dram, l3 or l2: by the bytes that the row walks over
  int threads = 1;
  int64_t layers = 1, bytes = 0; ///< weights that a run walks over, and the stored bytes of each
  double median = 0, best = 0;   ///< seconds of one layer
  double readBandwidth = 0, bestReadBandwidth = 0; ///< bytes a second: the limits' medians and bests
  double peak = 0, bestPeak = 0;                   ///< operations a second
  std::vector<PeerTime> peers;

  double getBandwidth() const { return bytes / median; }
  double getOperations() const { return 2.0 * row->m * row->n * row->k / median; }
  double getReadFraction() const { return getBandwidth() / readBandwidth; }
  double getPeakFraction() const { return getOperations() / peak; }
  /// Best against best: what a machine that others use, too, can still tell.
  double getBestReadFraction() const { return bytes / best / bestReadBandwidth; }
  double getBestPeakFraction() const { return 2.0 * row->m * row->n * row->k / best / bestPeak; }
  llvm::json::Object toJSON() const;
};

/// Measures the rows for every number of threads. The context needs the dialects of registerDialects.
llvm::Expected<std::vector<BenchmarkResult>> runBenchmarks(MLIRContext &context, llvm::ArrayRef<BenchmarkRow> rows,
                                                           const BenchmarkOptions &options,
                                                           llvm::function_ref<void(const BenchmarkResult &)> progress);

/// Of a history of quant-bench: each format's line (fitLatency), and how far off the others' line is at a size that is left out, which is
/// what an allocation goes by where its cost table lacks a layer.
llvm::Error printLatencyFits(llvm::StringRef path, llvm::raw_ostream &os);

} // namespace mlir::quanta

#endif // QUANTA_BENCHMARK_BENCHMARK_H
