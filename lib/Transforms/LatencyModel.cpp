//===- LatencyModel.cpp - How long a layer takes on the target ------------------------------------------------------------===//
#include "LatencyModel.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "quanta/Support/LatencyRows.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

static const void *getKey(Attribute encoding) { return encoding ? encoding.getAsOpaquePointer() : nullptr; }

llvm::Expected<LatencyModel> LatencyModel::read(StringRef path, MLIRContext *context, int64_t tokens, int64_t threads, StringRef act) {
  LatencyModel model;
  model.path = path.str();
  model.tokens = tokens;
  auto rows = ::quanta::readLatencyRows(path);
  if (!rows)
    return rows.takeError();
  std::map<const void *, std::map<Shape, std::vector<double>>> measured;
  for (const ::quanta::LatencyRow &row : *rows) {
    if (row.shape[0] != tokens || row.threads != threads || row.activation != act)
      continue;
    Attribute encoding;
    if (!row.encoding.empty()) {
      ScopedDiagnosticHandler quiet(context, [](Diagnostic &) { return success(); });
      encoding = parseAttribute(row.encoding, context);
      if (!isa_and_present<EncodingAttrInterface>(encoding))
        return userError("cost table '" + path + "': '" + row.encoding + "' is no encoding");
    }
    measured[getKey(encoding)][{row.shape[1], row.shape[2]}].push_back(row.ns);
  }
  for (auto &[encoding, shapes] : measured)
    for (auto &[shape, times] : shapes)
      model.table[encoding][shape] = ::quanta::medianOf(std::move(times));
  return model;
}

LatencyModel LatencyModel::roofline(double bandwidth, double peak, int64_t tokens) {
  LatencyModel model;
  model.bandwidth = bandwidth;
  model.peak = peak;
  model.tokens = tokens;
  return model;
}

llvm::Expected<int64_t> LatencyModel::predict(RankedTensorType weight) {
  if (weight.getRank() != 2)
    return userError("only linear layers have a predicted latency; keep others in float (keep=REGEX)");
  EncodingAttrInterface encoding = getEncoding(weight);
  int64_t rows = weight.getDimSize(0), columns = weight.getDimSize(1);
  auto roundUp = [](double ns) { return static_cast<int64_t>(std::ceil(ns)); };
  if (path.empty()) {
    double bits = encoding ? double(encoding.getStoredBits(weight.getShape())) : 32.0 * rows * columns;
    return roundUp(std::max(bits / 8 / bandwidth, 2.0 * tokens * rows * columns / peak));
  }
  const std::map<Shape, double> &shapes = table[getKey(encoding)];
  if (auto known = shapes.find({rows, columns}); known != shapes.end())
    return roundUp(known->second);
  std::vector<std::pair<double, double>> sizes;
  for (auto [shape, ns] : shapes)
    sizes.push_back({double(shape.first) * double(shape.second), ns});
  if (auto fit = ::quanta::fitLatency(sizes)) {
    worstFit = std::max(worstFit.value_or(0), fit->worst);
    return roundUp(fit->predict(double(rows) * double(columns)));
  }
  std::string text = "f32";
  if (encoding)
    llvm::raw_string_ostream(text = "") << Attribute(encoding);
  return userError(llvm::formatv("cost table '{0}' has no row for {1} tokens and {2}x{3} weights of {4}, nor two other sizes of it to go by; "
                                 "add it with quant-bench --layers=REPORT.json --tokens={1} --json", path, tokens, rows, columns, text).str());
}
