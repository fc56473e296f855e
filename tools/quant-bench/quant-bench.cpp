//===- quant-bench.cpp - Measures kernels against the limits of this machine ----------------------------------------------===//
#include "../CleanSlate.h"
#include "quanta/Benchmark/Benchmark.h"
#include "quanta/Pipelines/Registration.h"
#include "quanta/Support/Error.h"
#include "mlir/IR/DialectRegistry.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/WithColor.h"

using namespace llvm;
using namespace mlir::quanta;
using ::quanta::userError;

namespace {
struct CommandLine : CleanSlate {
  cl::OptionCategory category{"Options"};
  cl::cat in{category};

  cl::list<std::string> suites{"suite", cl::desc("gemv-cold (the default), gemv-hot, gemm or binary"), cl::CommaSeparated, in};
  cl::opt<std::string> format{"format", cl::desc("only rows whose FORMAT/ACTIVATION matches, as s4g128/int8-token"),
                              cl::value_desc("regex"), in};
  cl::opt<std::string> shape{"shape", cl::desc("rows of this shape instead of the suite's own"), cl::value_desc("MxNxK"), in};
  cl::opt<std::string> layers{"layers", cl::desc("instead of suites, the layers of a model with all encodings they could have: a cost table"),
                              cl::value_desc("REPORT.json"), in};
  cl::opt<int64_t> tokens{"tokens", cl::desc("rows of the layers' input, with --layers (1)"), cl::init(1), in};
  cl::list<int> threads{"threads", cl::desc("numbers of threads (1,2)"), cl::CommaSeparated, in};
  cl::opt<std::string> cpu{"mcpu", cl::desc("CPU to compile for (native)"), cl::init("native"), in};
  cl::opt<int64_t> coldMiB{"cold-mib", cl::desc("MiB of weights that a cold row walks over (512)"), cl::init(512), in};
  cl::opt<unsigned> repeats{"repeats", cl::desc("runs of each row (11)"), cl::init(11), in};
  cl::opt<bool> json{"json", cl::desc("print one JSON object and nothing else"), in};
  cl::opt<std::string> history{"history", cl::desc("append the JSON object to this file, as one line"), cl::value_desc("FILE"), in};
  cl::opt<std::string> fit{"fit", cl::desc("instead of measuring, print how the times of a --history grow with the number of weights"),
                           cl::value_desc("FILE"), in};
};
} // namespace

static Expected<std::vector<BenchmarkRow>> selectRows(const CommandLine &line, int64_t &modelBytes) {
  if (!line.layers.empty()) {
    if (!line.suites.empty() || !line.shape.empty() || line.tokens < 1 || line.tokens > (1 << 20))
      return userError("--layers takes --tokens from 1 to 1048576 and neither --suite nor --shape");
    return getLayerRows(line.layers, line.tokens, modelBytes);
  }
  std::string problem;
  Regex pattern(line.format.empty() ? ".*" : line.format.getValue());
  if (!pattern.isValid(problem))
    return userError("--format '" + line.format + "' is not a regular expression: " + problem);
  std::array<int64_t, 3> shape = {};
  if (!line.shape.empty()) {
    SmallVector<StringRef> sizes;
    StringRef(line.shape).split(sizes, 'x');
    bool good = sizes.size() == 3;
    for (size_t i = 0; good && i < 3; ++i)
      good = !sizes[i].getAsInteger(10, shape[i]) && shape[i] > 0 && shape[i] <= (1 << 20);
    if (!good)
      return userError("--shape must be three sizes, as 1x4096x4096, but is '" + line.shape + "'");
  }
  std::vector<BenchmarkRow> rows;
  std::vector<std::string> suites(line.suites.begin(), line.suites.end());
  for (const std::string &suite : suites.empty() ? std::vector<std::string>{"gemv-cold"} : suites) {
    auto all = getBenchmarkRows(suite);
    if (!all)
      return all.takeError();
    for (BenchmarkRow &row : *all) {
      if (!line.shape.empty())
        std::tie(row.m, row.n, row.k) = std::tuple(shape[0], shape[1], shape[2]);
      bool known = any_of(rows, [&](const BenchmarkRow &other) {
        return other.suite == row.suite && other.format == row.format && other.activation == row.activation &&
               other.m == row.m && other.n == row.n && other.k == row.k;
      });
      if (!known && pattern.match(row.format + "/" + row.activation))
        rows.push_back(std::move(row));
    }
  }
  if (rows.empty())
    return userError("no row matches --format '" + line.format + "'");
  return rows;
}

static void print(const BenchmarkResult &r) {
  std::string shape = formatv("{0}x{1}x{2}", r.row->m, r.row->n, r.row->k);
  outs() << formatv("{0,-9} {1,-7} {2,-4} {3,-14} t{4} {5,-4} {6,9:f1} us (best {7,9:f1}) {8,6:f2} GB/s {9,3:f0}% (best {10,3:f0}%) of {11,5:f1} "
                    "{12,7:f1} GOP/s {13,3:f0}% (best {14,3:f0}%) of {15,5:f0}",
                    r.row->suite, r.row->format, StringRef(r.row->activation).split('-').first, shape, r.threads, r.where, r.median * 1e6,
                    r.best * 1e6, r.getBandwidth() * 1e-9, 100 * r.getReadFraction(), 100 * r.getBestReadFraction(), r.readBandwidth * 1e-9,
                    r.getOperations() * 1e-9, 100 * r.getPeakFraction(), 100 * r.getBestPeakFraction(), r.peak * 1e-9);
  for (const PeerTime &peer : r.peers)
    outs() << formatv("  [{0} {1:f1} us]", peer.name, peer.seconds * 1e6);
  outs() << "\n";
  outs().flush();
}

static Error run(const CommandLine &line) {
  if (!line.fit.empty())
    return printLatencyFits(line.fit, outs());
  int64_t modelBytes = 0;
  auto rows = selectRows(line, modelBytes);
  if (!rows)
    return rows.takeError();
  BenchmarkOptions options;
  if (!line.threads.empty())
    options.threads.assign(line.threads.begin(), line.threads.end());
  if (any_of(options.threads, [](int threads) { return threads < 1 || threads > 1024; }))
    return userError("--threads must be numbers from 1 to 1024");
  if (line.coldMiB < 1 || line.coldMiB > (1 << 16) || line.repeats < 1)
    return userError("--cold-mib must be from 1 to 65536 and --repeats at least 1");
  options.cpu = line.cpu;
  options.coldBytes = modelBytes > 0 && !line.coldMiB.getNumOccurrences() ? modelBytes : line.coldMiB << 20;
  options.repeats = line.repeats;

  mlir::DialectRegistry registry;
  registerDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  auto results = runBenchmarks(context, *rows, options, [&](const BenchmarkResult &result) {
    if (!line.json)
      print(result);
  });
  if (!results)
    return results.takeError();
  json::Array list;
  for (const BenchmarkResult &result : *results)
    list.push_back(result.toJSON());
  json::Value all = json::Object{{"version", QUANTA_VERSION}, {"repeats", options.repeats}, {"rows", std::move(list)}};
  if (line.json)
    outs() << formatv("{0:2}\n", all);
  if (line.history.empty())
    return Error::success();
  std::error_code ec;
  raw_fd_ostream file(line.history, ec, sys::fs::OF_Append);
  if (ec)
    return userError("cannot write '" + line.history + "': " + ec.message());
  file << formatv("{0}\n", all);
  return Error::success();
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  CommandLine line;
  cl::HideUnrelatedOptions(line.category);
  cl::SetVersionPrinter([](raw_ostream &os) { os << "Quanta " QUANTA_VERSION "\n"; });
  cl::ParseCommandLineOptions(argc, argv, "Measures kernels against the limits of this machine\n");
  if (Error error = run(line)) {
    WithColor::error(errs(), "quant-bench") << toString(std::move(error)) << "\n";
    return 1;
  }
  return 0;
}
