//===- Benchmark.cpp - Kernels against the limits of the machine -----------------------------------------------------------===//
#include "quanta/Benchmark/Benchmark.h"
#include "Workload.h"
#include "quanta/Support/Error.h"
#include "quanta/Target/Target.h"
#include "mlir/AsmParser/AsmParser.h"
#include "llvm/TargetParser/Host.h"
#include <map>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

namespace {

double median(std::vector<double> values) {
  llvm::sort(values);
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Bench {
public:
  Bench(MLIRContext &context, const BenchmarkOptions &options) : context(context), options(options) {}

  llvm::Error prepare() {
    auto resolved = ::quanta::Target::resolve("", options.cpu);
    if (!resolved)
      return resolved.takeError();
    target = resolved->triple + ", " + resolved->cpu;
    level = &resolved->getLevel();
    return llvm::Error::success();
  }

  llvm::Error measure(const BenchmarkRow &row, std::vector<BenchmarkResult> &results) {
    auto bytes = getWeightBytes(context, row);
    if (!bytes)
      return bytes.takeError();
    int64_t layers = row.cold ? std::min<int64_t>(row.mostLayers, llvm::divideCeil(options.coldBytes, *bytes)) : 1;
    OwningOpRef<ModuleOp> module = buildLayers(context, row, layers);
    auto work = Workload::compile(*module, library(buildLowerPhase), options.threads);
    if (!work)
      return work.takeError();
    auto read = getRead(row, layers, *bytes);
    if (!read)
      return read.takeError();
    double operations = 0;
    // Several rows could use the matrix unit, if there is one.
    bool matrix = row.peak != Peak::Float && row.m > 1 && level->matrix != ::quanta::MatrixUnit::None;
    Peak unit = row.peak == Peak::BFloat ? Peak::BFloatMatrix : Peak::Matrix;
    auto peak = getPeak(matrix ? unit : row.peak, operations);
    if (!peak)
      return peak.takeError();

    // In turn, so that a slow second of the machine slows all of them.
    size_t count = options.threads.size();
    std::vector<std::vector<double>> rowTimes(count), peakTimes(count);
    std::vector<std::vector<std::vector<double>>> readTimes(count, std::vector<std::vector<double>>(getReadWays().size()));
    for (unsigned repeat = 0; repeat <= options.repeats; ++repeat)
      for (size_t i = 0; i < count; ++i) {
        auto measure = [&](Workload &workload, std::vector<double> &times) -> llvm::Error {
          auto seconds = workload.run(i);
          if (seconds && !row.cold) // what runs in between takes the caches
            seconds = workload.run(i);
          if (!seconds)
            return seconds.takeError();
          if (repeat) // the first run touches pages
            times.push_back(*seconds);
          return llvm::Error::success();
        };
        if (llvm::Error error = measure(**work, rowTimes[i]))
          return error;
        for (auto [way, times] : llvm::enumerate(readTimes[i])) {
          read->workload->setInputs(way);
          if (llvm::Error error = measure(*read->workload, times))
            return error;
        }
        if (llvm::Error error = measure(**peak, peakTimes[i]))
          return error;
      }
    for (size_t i = 0; i < count; ++i) {
      BenchmarkResult result;
      result.row = &row;
      result.target = level->name.str();
      result.where = getPlace(layers * *bytes);
      result.threads = options.threads[i];
      result.layers = layers;
      result.bytes = *bytes;
      result.median = median(rowTimes[i]) / layers;
      result.best = *llvm::min_element(rowTimes[i]) / layers;
      for (const std::vector<double> &times : readTimes[i]) {
        result.readBandwidth = std::max(result.readBandwidth, read->bytes / median(times));
        result.bestReadBandwidth = std::max(result.bestReadBandwidth, read->bytes / *llvm::min_element(times));
      }
      result.peak = operations / median(peakTimes[i]);
      result.bestPeak = operations / *llvm::min_element(peakTimes[i]);
      result.peers = getPeers(row, result.threads);
      results.push_back(std::move(result));
    }
    return llvm::Error::success();
  }

private:
  struct Read {
    Workload *workload;
    int64_t bytes;
  };

  LibraryOptions library(decltype(LibraryOptions::lower) lower) {
    LibraryOptions result;
    result.cpus = {options.cpu};
    result.lower = std::move(lower);
    return result;
  }

  llvm::Expected<Workload *> getLimit(const std::string &key, llvm::function_ref<OwningOpRef<ModuleOp>()> build) {
    std::unique_ptr<Workload> &limit = limits[key];
    if (limit)
      return limit.get();
    OwningOpRef<ModuleOp> module = build();
    auto compiled = Workload::compile(*module, library(buildLimitLowering), options.threads);
    if (!compiled)
      return compiled.takeError();
    limit = std::move(*compiled);
    return limit.get();
  }

  /// Reads as much as the row does; from memory, as much as any cold row.
  llvm::Expected<Read> getRead(const BenchmarkRow &row, int64_t layers, int64_t bytes) {
    if (row.cold) {
      bytes = std::min<int64_t>(16 << 20, options.coldBytes);
      layers = llvm::divideCeil(options.coldBytes, bytes);
    }
    OwningOpRef<ModuleOp> module = buildRead(context, layers, bytes);
    auto workload = getLimit(("read " + Twine(layers) + " " + Twine(bytes)).str(), [&] { return std::move(module); });
    if (!workload)
      return workload.takeError();
    return Read{*workload, layers * bytes};
  }

  llvm::Expected<Workload *> getPeak(Peak peak, double &operations) {
    auto module = buildPeak(context, peak, *level, operations);
    return getLimit(("peak " + Twine(static_cast<int>(peak))).str(), [&] { return std::move(module); });
  }

  /// By size; what is shared by threads counts as one.
  static std::string getPlace(int64_t bytes) { return bytes >= (256 << 20) ? "dram" : bytes > (1 << 20) ? "l3" : "l2"; }

  MLIRContext &context;
  const BenchmarkOptions &options;
  const ::quanta::TargetLevel *level = nullptr;
  std::string target;
  std::map<std::string, std::unique_ptr<Workload>> limits;
};

} // namespace

llvm::json::Object BenchmarkResult::toJSON() const {
  llvm::json::Object object{{"suite", row->suite},
                            {"format", row->format},
                            {"encoding", row->encoding},
                            {"activation", row->activation},
                            {"shape", llvm::json::Array{row->m, row->n, row->k}},
                            {"threads", threads},
                            {"target", target},
                            {"where", where},
                            {"layers", layers},
                            {"bytes", bytes},
                            {"ns", median * 1e9},
                            {"ns_best", best * 1e9},
                            {"GB/s", getBandwidth() * 1e-9},
                            {"GOP/s", getOperations() * 1e-9},
                            {"read_GB/s", readBandwidth * 1e-9},
                            {"peak_GOP/s", peak * 1e-9},
                            {"fraction_of_read_bandwidth", getReadFraction()},
                            {"fraction_of_peak", getPeakFraction()},
                            {"fraction_of_read_bandwidth_best", getBestReadFraction()},
                            {"fraction_of_peak_best", getBestPeakFraction()}};
  if (!peers.empty()) {
    llvm::json::Array list;
    for (const PeerTime &peer : peers)
      list.push_back(llvm::json::Object{{"name", peer.name}, {"ns", peer.seconds * 1e9}});
    object["peers"] = std::move(list);
  }
  return object;
}

llvm::Expected<std::vector<BenchmarkResult>>
mlir::quanta::runBenchmarks(MLIRContext &context, ArrayRef<BenchmarkRow> rows, const BenchmarkOptions &options,
                            llvm::function_ref<void(const BenchmarkResult &)> progress) {
  std::vector<BenchmarkResult> results;
  Bench bench(context, options);
  if (llvm::Error error = bench.prepare())
    return std::move(error);
  for (const BenchmarkRow &row : rows) {
    size_t before = results.size();
    if (llvm::Error error = bench.measure(row, results))
      return userError(row.format + " " + Twine(row.m) + "x" + Twine(row.n) + "x" + Twine(row.k) + ": " + llvm::toString(std::move(error)));
    for (const BenchmarkResult &result : ArrayRef(results).drop_front(before))
      progress(result);
  }
  return results;
}
