//===- LatencyModel.cpp - How long a layer takes on the target ------------------------------------------------------------===//
#include "LatencyModel.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

static const void *getKey(Attribute encoding) { return encoding ? encoding.getAsOpaquePointer() : nullptr; }

llvm::Expected<LatencyModel> LatencyModel::read(StringRef path, MLIRContext *context, int64_t tokens, int64_t threads, StringRef act) {
  LatencyModel model;
  model.path = path.str();
  model.tokens = tokens;
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return userError("cost table '" + path + "' cannot be read: " + buffer.getError().message());
  auto json = llvm::json::parse((*buffer)->getBuffer());
  if (!json)
    return userError("cost table '" + path + "': " + llvm::toString(json.takeError()));
  auto *object = json->getAsObject();
  auto *rows = object ? object->getArray("rows") : nullptr;
  if (!rows)
    return userError("cost table '" + path + "' has no rows; write it with quant-bench --layers=REPORT.json --json");
  for (const llvm::json::Value &value : *rows) {
    auto *row = value.getAsObject();
    auto *shape = row ? row->getArray("shape") : nullptr;
    auto encoding = row ? row->getString("encoding") : std::nullopt, activation = row ? row->getString("activation") : std::nullopt;
    auto ns = row ? row->getNumber("ns") : std::nullopt;
    auto rowThreads = row ? row->getInteger("threads") : std::nullopt;
    auto size = [&](size_t i) { return (*shape)[i].getAsInteger(); };
    if (!shape || shape->size() != 3 || !size(0) || !size(1) || !size(2) || !encoding || !activation || !ns || !(*ns > 0) || !rowThreads)
      return userError("cost table '" + path + "' has a row without shape, encoding, activation, threads or ns");
    if (*size(0) != tokens || *rowThreads != threads || *activation != act)
      continue;
    Attribute parsed;
    if (!encoding->empty() && *encoding != "f32") {
      ScopedDiagnosticHandler quiet(context, [](Diagnostic &) { return success(); });
      parsed = parseAttribute(*encoding, context);
      if (!isa_and_present<EncodingAttrInterface>(parsed))
        return userError("cost table '" + path + "': '" + *encoding + "' is no encoding");
    }
    model.table[{getKey(parsed), *size(1), *size(2)}] = *ns;
  }
  return model;
}

LatencyModel LatencyModel::roofline(double bandwidth, double peak, int64_t tokens) {
  LatencyModel model;
  model.bandwidth = bandwidth;
  model.peak = peak;
  model.tokens = tokens;
  return model;
}

llvm::Expected<int64_t> LatencyModel::predict(RankedTensorType weight) const {
  if (weight.getRank() != 2)
    return userError("only linear layers have a predicted latency; keep others in float (keep=REGEX)");
  EncodingAttrInterface encoding = getEncoding(weight);
  int64_t rows = weight.getDimSize(0), columns = weight.getDimSize(1);
  if (path.empty()) {
    double bits = encoding ? double(encoding.getStoredBits(weight.getShape())) : 32.0 * rows * columns;
    return static_cast<int64_t>(std::ceil(std::max(bits / 8 / bandwidth, 2.0 * tokens * rows * columns / peak)));
  }
  auto known = table.find({getKey(encoding), rows, columns});
  if (known == table.end()) {
    std::string text = "f32";
    if (encoding)
      llvm::raw_string_ostream(text = "") << Attribute(encoding);
    return userError(llvm::formatv("cost table '{0}' has no row for {1} tokens and {2}x{3} weights of {4}; add it with quant-bench "
                                   "--layers=REPORT.json --tokens={1} --json", path, tokens, rows, columns, text).str());
  }
  return static_cast<int64_t>(std::ceil(known->second));
}
