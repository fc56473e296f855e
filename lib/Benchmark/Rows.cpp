//===- Rows.cpp - What is measured ------------------------------------------------------------------------------------------===//
#include "quanta/Benchmark/Benchmark.h"
#include "quanta/Support/Error.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <set>

using namespace mlir::quanta;
using llvm::StringRef;

namespace {
struct Format {
  StringRef name, encoding;
  StringRef activation;
};
struct Shape {
  int64_t m, n, k;
};
struct Suite {
  StringRef name;
  bool cold;
  std::vector<Format> formats;
  std::vector<Shape> shapes;
  Peak integerPeak = Peak::Integer;
};
} // namespace

static const std::vector<Suite> &getSuites() {
  static const std::vector<Format> all = {
      {"f32", "", "f32"},
      {"s8g128", "#quanta.uniform<bits = 8, group = 128>", "int8-token"},
      {"s8", "#quanta.uniform<bits = 8>", "int8-token"},
      {"s4g128", "#quanta.uniform<bits = 4, group = 128>", "int8-token"},
      {"s4", "#quanta.uniform<bits = 4>", "int8-token"},
      {"u4g128", "#quanta.uniform<bits = 4, group = 128, zero = point>", "int8-token"},
      {"s4g128m4", "#quanta.uniform<bits = 4, group = 128, multiples = 4>", "int8-token"},
      {"s4g32m4", "#quanta.uniform<bits = 4, group = 32, multiples = 4>", "int8-token"},
      {"s3g128", "#quanta.uniform<bits = 3, group = 128>", "int8-token"},
      {"s2g128", "#quanta.uniform<bits = 2, group = 128>", "int8-token"},
      {"s2", "#quanta.uniform<bits = 2>", "int8-token"},
      {"t2g128", "#quanta.uniform<bits = 2, group = 128, levels = 3>", "int8-token"},
      {"t2", "#quanta.uniform<bits = 2, levels = 3>", "int8-token"},
      {"s1g128", "#quanta.uniform<bits = 1, group = 128>", "int8-token"},
      {"s1", "#quanta.uniform<bits = 1>", "int8-token"},
      {"s8g128", "#quanta.uniform<bits = 8, group = 128>", "bf16"},
      {"s4g128", "#quanta.uniform<bits = 4, group = 128>", "bf16"},
      {"s4", "#quanta.uniform<bits = 4>", "bf16"},
      {"u4g128", "#quanta.uniform<bits = 4, group = 128, zero = point>", "bf16"},
      {"t2g128", "#quanta.uniform<bits = 2, group = 128, levels = 3>", "bf16"},
      {"s4", "#quanta.uniform<bits = 4>", "f32"},
      {"s4g128", "#quanta.uniform<bits = 4, group = 128>", "f32"},
      {"s1g128", "#quanta.uniform<bits = 1, group = 128>", "f32"},
  };
  static const std::vector<Format> binary = {
      {"s1", "#quanta.uniform<bits = 1>", "sign"},
      {"s1", "#quanta.uniform<bits = 1>", "int8-token"},
      {"s1g128", "#quanta.uniform<bits = 1, group = 128>", "int8-token"},
      {"t2g128", "#quanta.uniform<bits = 2, group = 128, levels = 3>", "int8-token"},
  };
  static const std::vector<Suite> suites = {
      {"gemv-cold", true, all, {{1, 4096, 4096}, {1, 11008, 4096}}},
      {"gemv-hot", false, all, {{1, 4096, 4096}, {1, 3072, 768}, {1, 768, 768}}},
      {"gemm", false, all, {{512, 4096, 4096}, {128, 3072, 768}, {32, 4096, 4096}, {8, 4096, 4096}}},
      {"binary", false, binary, {{1, 4096, 4096}, {512, 4096, 4096}, {4096, 4096, 4096}}, Peak::Popcount},
  };
  return suites;
}

std::vector<PeerTime> mlir::quanta::getPeers(const BenchmarkRow &row, int threads) {
  struct Peer {
    StringRef suite, format;
    int64_t m, n, k;
    StringRef name;
    double one, two;
  };
  static const Peer peers[] = {
#define PEER(...) {__VA_ARGS__},
#include "Peers.def"
#undef PEER
  };
  // The kind of a short name: its bits, or what stands for them.
  StringRef format = row.format == "f32" ? StringRef("f32") : row.format[0] == 't' ? StringRef("t") : StringRef(row.format).substr(1, 1);
  std::vector<PeerTime> times;
  for (const Peer &peer : peers)
    if (peer.suite == row.suite && peer.format == format && peer.m == row.m && peer.n == row.n && peer.k == row.k && threads <= 2)
      times.push_back({peer.name.str(), 1e-6 * (threads == 1 ? peer.one : peer.two)});
  return times;
}

llvm::Expected<std::vector<BenchmarkRow>> mlir::quanta::getLayerRows(StringRef path, int64_t tokens, int64_t &modelBytes) {
  using ::quanta::userError;
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return userError("report '" + path + "' cannot be read: " + buffer.getError().message());
  auto json = llvm::json::parse((*buffer)->getBuffer());
  if (!json)
    return userError("report '" + path + "': " + llvm::toString(json.takeError()));
  auto *report = json->getAsObject();
  auto *layers = report ? report->getArray("layers") : nullptr;
  if (!layers)
    return userError("report '" + path + "' has no layers; write it with quantc --report");
  modelBytes = report->getInteger("weights_bytes").value_or(0);
  using Weight = std::pair<std::string, std::array<int64_t, 2>>; // encoding, sizes
  auto readWeight = [](const llvm::json::Object &object) -> std::optional<Weight> {
    auto *shape = object.getArray("shape");
    if (!shape || shape->size() != 2)
      return std::nullopt;
    std::string encoding = object.getString("encoding").value_or("f32").str();
    return Weight{encoding == "f32" ? "" : encoding, {(*shape)[0].getAsInteger().value_or(0), (*shape)[1].getAsInteger().value_or(0)}};
  };
  std::map<std::string, std::vector<Weight>> choices; // by layer
  if (auto *budget = report->getObject("budget"))
    if (auto *allocated = budget->getArray("layers"))
      for (const llvm::json::Value &value : *allocated)
        if (auto *layer = value.getAsObject(); layer && layer->getArray("candidates"))
          for (const llvm::json::Value &candidate : *layer->getArray("candidates"))
            if (auto *object = candidate.getAsObject(); object && object->getArray("weights"))
              for (const llvm::json::Value &weight : *object->getArray("weights"))
                if (auto read = weight.getAsObject() ? readWeight(*weight.getAsObject()) : std::nullopt)
                  choices[layer->getString("name").value_or("").str()].push_back(*read);
  std::vector<BenchmarkRow> rows;
  std::set<std::pair<Weight, bool>> known;
  for (const llvm::json::Value &value : *layers) {
    auto *layer = value.getAsObject();
    auto own = layer && layer->getString("op") == "linear" ? readWeight(*layer) : std::nullopt;
    if (!own)
      continue;
    bool tokenActivations = layer->getString("act") == "int8-token";
    std::vector<Weight> weights = choices[layer->getString("name").value_or("").str()];
    if (weights.empty())
      weights.push_back(*own);
    for (const Weight &weight : weights) {
      auto &[encoding, size] = weight;
      if (size[0] < 1 || size[1] < 1 || size[0] > (1 << 20) || size[1] > (1 << 20))
        return userError("report '" + path + "': a layer has a shape that cannot be measured");
      if (known.emplace(weight, tokenActivations).second)
        rows.push_back({"layers", encoding.empty() ? "f32" : encoding, encoding, tokenActivations && !encoding.empty() ? "int8-token" : "f32",
                        tokens, size[0], size[1], /*cold=*/true, tokenActivations && !encoding.empty() ? Peak::Integer : Peak::Float,
                        /*mostLayers=*/64});
    }
  }
  if (rows.empty())
    return userError("report '" + path + "' has no linear layers");
  return rows;
}

llvm::Expected<std::vector<BenchmarkRow>> mlir::quanta::getBenchmarkRows(StringRef name) {
  auto found = llvm::find_if(getSuites(), [&](const Suite &suite) { return suite.name == name; });
  if (found == getSuites().end())
    return ::quanta::userError("there is no suite '" + name + "'; there are: " +
                               llvm::join(llvm::map_range(getSuites(), [](const Suite &suite) { return suite.name; }), ", "));
  std::vector<BenchmarkRow> rows;
  for (const Shape &shape : found->shapes)
    for (const Format &format : found->formats)
      rows.push_back({name.str(), format.name.str(), format.encoding.str(), format.activation.str(), shape.m, shape.n, shape.k,
                      found->cold, format.activation == "f32" ? Peak::Float : format.activation == "bf16" ? Peak::BFloat : found->integerPeak});
  return rows;
}
