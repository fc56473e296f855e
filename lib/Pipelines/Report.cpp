//===- Report.cpp - What a compilation did ------------------------------------------------------------------------------===//
#include "quanta/Pipelines/Report.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::quanta;

//===- Facts --------------------------------------------------------------------------------------------------------------===//

uint64_t mlir::quanta::getPeakBytes() {
  auto status = llvm::MemoryBuffer::getFileAsStream("/proc/self/status");
  if (!status)
    return 0;
  uint64_t kilobytes = 0;
  StringRef line = (*status)->getBuffer().split("VmHWM:").second.ltrim();
  line.consumeInteger(10, kilobytes);
  return kilobytes * 1024;
}

static uint64_t getStoredBits(Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  if (EncodingAttrInterface encoding = getEncoding(type))
    return encoding.getStoredBits(type.getShape());
  return type.getNumElements() * type.getElementTypeBitWidth();
}

/// The op that defines a constant weight of static shape, or null.
static Operation *getConstantWeight(Value weight) {
  Operation *def = weight ? weight.getDefiningOp() : nullptr;
  bool constant = isa_and_present<ConstantOp, arith::ConstantOp>(def);
  auto type = dyn_cast_or_null<RankedTensorType>(weight ? weight.getType() : Type());
  return constant && type && type.hasStaticShape() && isa<FloatType>(type.getElementType()) ? def : nullptr;
}

static std::string print(Attribute attr) {
  std::string text;
  llvm::raw_string_ostream(text) << attr;
  return text;
}

static std::string describeEncoding(Type weight) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (EncodingAttrInterface encoding = getEncoding(weight))
    os << print(encoding);
  else
    os << cast<RankedTensorType>(weight).getElementType();
  return text;
}

/// As the option `act` names it, where it is one of those.
static std::string describeActivation(Attribute encoding) {
  if (auto uniform = dyn_cast<UniformAttr>(encoding))
    return ("int" + Twine(uniform.getBits()) + "-token").str();
  if (auto affine = dyn_cast<AffineAttr>(encoding))
    return ("int" + Twine(affine.getBits()) + (affine.getSegmentCount() > 1 ? "-cluster" : "-tensor")).str();
  std::string text;
  if (auto narrow = dyn_cast<NarrowAttr>(encoding))
    encoding = TypeAttr::get(narrow.getType());
  llvm::raw_string_ostream(text) << encoding;
  return text;
}

static std::optional<Report::Allocation> readAllocation(ModuleOp module) {
  auto summary = module->getAttrOfType<DictionaryAttr>("quanta.allocation");
  if (!summary)
    return std::nullopt;
  auto bits = [](DictionaryAttr entry, StringRef name) -> uint64_t { return entry.getAs<IntegerAttr>(name).getInt(); };
  auto loss = [](DictionaryAttr entry, StringRef name) { return entry.getAs<FloatAttr>(name).getValueAsDouble(); };
  Report::Allocation result;
  result.budget = bits(summary, "budget");
  result.bits = bits(summary, "bits");
  result.weights = bits(summary, "weights");
  result.loss = loss(summary, "loss");
  result.lowerBound = loss(summary, "lower_bound");
  if (summary.contains("ns")) {
    result.ns = bits(summary, "ns");
    result.nsBudget = bits(summary, "ns_budget");
  }
  for (auto point : summary.getAs<ArrayAttr>("frontier").getAsRange<DictionaryAttr>())
    result.frontier.push_back({bits(point, "bits"), loss(point, "loss")});
  for (auto layer : summary.getAs<ArrayAttr>("layers").getAsRange<DictionaryAttr>()) {
    result.layers.push_back({layer.getAs<StringAttr>("name").str(), static_cast<size_t>(bits(layer, "chosen")), {}});
    for (auto candidate : layer.getAs<ArrayAttr>("candidates").getAsRange<DictionaryAttr>()) {
      std::vector<Report::Allocation::Weight> weights;
      for (auto type : candidate.getAs<ArrayAttr>("weights").getAsValueRange<TypeAttr>())
        weights.push_back({describeEncoding(type), cast<RankedTensorType>(type).getShape().vec()});
      result.layers.back().candidates.push_back({candidate.getAs<StringAttr>("solver").str(), std::move(weights), bits(candidate, "bits"),
                                                 loss(candidate, "error"), loss(candidate, "loss")});
    }
  }
  return result;
}

void Report::addLayers(ModuleOp module, ArrayRef<std::string> keep) {
  std::vector<llvm::Regex> patterns(keep.begin(), keep.end());
  auto isKept = [&](StringRef name) { return llvm::any_of(patterns, [&](llvm::Regex &p) { return p.match(name); }); };

  allocation = readAllocation(module);
  // A weight that several layers share is stored, and counted, once.
  llvm::SmallPtrSet<Operation *, 32> counted;
  module.walk([&](Operation *op) {
    Value weight;
    if (auto linear = dyn_cast<LinearOp>(op))
      weight = linear.getWeight();
    else if (auto conv = dyn_cast<Conv2DOp>(op))
      weight = conv.getWeight();
    Operation *constant = getConstantWeight(weight);
    if (!constant)
      return;
    auto type = cast<RankedTensorType>(weight.getType());
    Layer layer;
    std::string weightName = getNodeName(constant->getLoc());
    layer.name = getNodeName(op->getLoc());
    if (layer.name.empty())
      layer.name = weightName;
    layer.op = op->getName().stripDialect().str();
    layer.shape = type.getShape().vec();
    layer.encoding = describeEncoding(weight.getType());
    if (Attribute activation = getEncoding(op->getOperand(0).getType()))
      layer.act = describeActivation(activation);
    uint64_t bits = getStoredBits(weight), count = type.getNumElements();
    layer.bitsPerWeight = count ? double(bits) / count : 0;
    layer.kept = isKept(layer.name) || isKept(weightName);
    if (auto note = op->getAttrOfType<StringAttr>("quanta.note"))
      layer.note = note.str();
    for (auto [name, value] : {std::pair("quanta.weight_error", &layer.errorWeight),
                               {"quanta.error_calibration", &layer.errorCalibration},
                               {"quanta.error_held_out", &layer.errorHeldOut},
                               {"quanta.seconds", &layer.seconds}})
      if (auto attr = op->getAttrOfType<FloatAttr>(name))
        *value = attr.getValueAsDouble();
    if (!layer.kept && counted.insert(constant).second) {
      eligibleBits += bits;
      eligibleCount += count;
    }
    layers.push_back(std::move(layer));
  });
  module.walk([&](Operation *op) {
    if (!isa<ConstantOp, arith::ConstantOp>(op) || !getConstantWeight(op->getResult(0)))
      return;
    modelBits += getStoredBits(op->getResult(0));
    modelCount += cast<RankedTensorType>(op->getResult(0).getType()).getNumElements();
  });
}

//===- JSON ---------------------------------------------------------------------------------------------------------------===//

static double divide(uint64_t bits, uint64_t count) { return count ? double(bits) / count : 0; }

static llvm::json::Value orNull(std::optional<double> value) {
  return value ? llvm::json::Value(*value) : llvm::json::Value(nullptr);
}

static llvm::json::Value toJSON(const std::optional<Report::Allocation> &allocation) {
  if (!allocation)
    return nullptr;
  llvm::json::Array frontier;
  for (auto [bits, loss] : allocation->frontier)
    frontier.push_back(llvm::json::Object{{"bits_per_weight", divide(bits, allocation->weights)}, {"loss", loss}});
  llvm::json::Array layers;
  for (const Report::Allocation::Layer &layer : allocation->layers) {
    llvm::json::Array candidates;
    for (const Report::Allocation::Candidate &candidate : layer.candidates) {
      llvm::json::Array weights;
      for (const Report::Allocation::Weight &weight : candidate.weights)
        weights.push_back(llvm::json::Object{{"encoding", weight.encoding}, {"shape", weight.shape}});
      candidates.push_back(llvm::json::Object{{"solver", candidate.solver},
                                              {"weights", std::move(weights)},
                                              {"bits", int64_t(candidate.bits)},
                                              {"error", candidate.error},
                                              {"loss", candidate.loss}});
    }
    layers.push_back(llvm::json::Object{
        {"name", layer.name}, {"chosen", int64_t(layer.chosen)}, {"candidates", std::move(candidates)}});
  }
  return llvm::json::Object{{"layers", std::move(layers)},
                            {"bits", int64_t(allocation->budget)},
                            {"bits_used", int64_t(allocation->bits)},
                            {"bits_per_weight", divide(allocation->budget, allocation->weights)},
                            {"bits_per_weight_used", divide(allocation->bits, allocation->weights)},
                            {"loss", allocation->loss},
                            {"lower_bound", allocation->lowerBound},
                            {"ns_predicted", allocation->ns ? llvm::json::Value(int64_t(*allocation->ns)) : nullptr},
                            {"ns", allocation->nsBudget ? llvm::json::Value(int64_t(*allocation->nsBudget)) : nullptr},
                            {"frontier", std::move(frontier)}};
}

llvm::json::Value Report::toJSON() const {
  llvm::json::Array layerList;
  for (const Layer &layer : layers) {
    llvm::json::Object entry{{"name", layer.name},
                             {"op", layer.op},
                             {"shape", layer.shape},
                             {"encoding", layer.encoding},
                             {"act", layer.act},
                             {"bits_per_weight", layer.bitsPerWeight},
                             {"error_weight", orNull(layer.errorWeight)},
                             {"error_calibration", orNull(layer.errorCalibration)},
                             {"error_held_out", orNull(layer.errorHeldOut)},
                             {"time_s", orNull(layer.seconds)}};
    if (layer.kept)
      entry["kept"] = true;
    if (!layer.note.empty())
      entry["note"] = layer.note;
    layerList.push_back(std::move(entry));
  }
  llvm::json::Object phases;
  for (auto &[phase, time] : seconds)
    phases[phase] = time;
  return llvm::json::Object{{"model", model},
                            {"target", target},
                            {"recipe", recipe},
                            {"bits_per_weight", divide(eligibleBits, eligibleCount)},
                            {"bits_per_weight_model", divide(modelBits, modelCount)},
                            {"budget", ::toJSON(allocation)},
                            {"weights_bytes", int64_t(weightsBytes)},
                            {"object_bytes", int64_t(objectBytes)},
                            {"layers", std::move(layerList)},
                            {"problems", problems},
                            {"seconds", std::move(phases)},
                            {"peak_bytes", int64_t(peakBytes)}};
}

//===- HTML ---------------------------------------------------------------------------------------------------------------===//

static std::string escape(StringRef text) {
  std::string result;
  for (char c : text)
    switch (c) {
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '&':
      result += "&amp;";
      break;
    case '"':
      result += "&quot;";
      break;
    default:
      result += c;
    }
  return result;
}

/// Stored bits of each layer in model order. A column's width is the layer's share of the weights, its height the bits per
/// weight, so that its area is its share of the file.
static void drawBitsMap(raw_ostream &os, ArrayRef<Report::Layer> layers) {
  double total = 0, highest = 1;
  auto count = [](const Report::Layer &layer) {
    double elements = 1;
    for (int64_t size : layer.shape)
      elements *= size;
    return elements;
  };
  for (const Report::Layer &layer : layers) {
    total += count(layer);
    highest = std::max(highest, layer.bitsPerWeight);
  }
  if (total == 0)
    return;
  const double width = 1000, height = 200;
  os << "<h2>Bits map</h2><p>Width: share of the weights. Height: bits per weight, up to " << llvm::format("%.4g", highest)
     << ".</p>\n<svg viewBox=\"0 0 1000 200\" preserveAspectRatio=\"none\" role=\"img\">\n";
  double x = 0;
  for (const Report::Layer &layer : layers) {
    double w = width * count(layer) / total, h = height * layer.bitsPerWeight / highest;
    os << llvm::formatv("<rect x=\"{0:f2}\" y=\"{1:f2}\" width=\"{2:f2}\" height=\"{3:f2}\" class=\"{4}\">", x, height - h, w,
                        h, layer.bitsPerWeight > 8.5 ? "float" : "coded")
       << "<title>" << escape(layer.name) << ": " << llvm::format("%.4g", layer.bitsPerWeight) << " bits, "
       << escape(layer.encoding) << "</title></rect>\n";
    x += w;
  }
  os << "</svg>\n";
}

/// Loss over size of the best allocations; the mark is the one that was chosen.
static void drawFrontier(raw_ostream &os, const Report::Allocation &allocation) {
  double most = allocation.loss, bits = std::max<double>(allocation.bits, 1);
  for (auto [size, loss] : allocation.frontier) {
    most = std::max(most, loss);
    bits = std::max<double>(bits, size);
  }
  auto point = [&](double size, double loss) {
    return llvm::formatv("{0:f2},{1:f2}", 1000 * size / bits, most > 0 ? 200 - 200 * std::max(loss, 0.0) / most : 200).str();
  };
  os << "<h2>Budget</h2><p>" << llvm::format("%.4f", divide(allocation.bits, allocation.weights)) << " of "
     << llvm::format("%.4f", divide(allocation.budget, allocation.weights)) << " bits a weight; loss "
     << llvm::format("%.4g", allocation.loss) << ", lower bound " << llvm::format("%.4g", allocation.lowerBound)
     << ". The line: loss (up) against size (right) of the best allocations; the dot: the one chosen.</p>\n"
     << "<svg viewBox=\"-10 -10 1020 220\" preserveAspectRatio=\"none\" role=\"img\"><polyline fill=\"none\" stroke=\"#2b6cb0\" "
     << "stroke-width=\"2\" points=\"";
  for (auto [size, loss] : allocation.frontier)
    os << point(size, loss) << " ";
  std::string chosen = point(allocation.bits, allocation.loss);
  auto [x, y] = StringRef(chosen).split(',');
  os << "\"/><circle r=\"5\" fill=\"#c53030\" cx=\"" << x << "\" cy=\"" << y << "\"/></svg>\n";
}

std::string Report::toHTML() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>" << escape(model) << "</title>\n<style>"
     << "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}"
     << "table{border-collapse:collapse;width:100%}td,th{padding:.2rem .8rem .2rem 0;text-align:left;"
     << "border-bottom:1px solid #ddd}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
     << "svg{width:100%;height:12rem;background:#f4f4f4}rect.coded{fill:#2b6cb0}rect.float{fill:#c9a227}"
     << "rect{stroke:#fff;stroke-width:.4}li{margin:.2rem 0}</style>\n"
     << "<h1>" << escape(model) << "</h1>\n<table>\n";
  auto row = [&](StringRef name, const Twine &value) {
    os << "<tr><th>" << name << "</th><td>" << escape(value.str()) << "</td></tr>\n";
  };
  row("Recipe", recipe.empty() ? "none" : recipe);
  row("Target", target);
  row("Bits per eligible weight", llvm::formatv("{0:f4}", divide(eligibleBits, eligibleCount)).str());
  row("Bits per parameter", llvm::formatv("{0:f4}", divide(modelBits, modelCount)).str());
  row("Weights", Twine(weightsBytes) + " bytes");
  row("Output", Twine(objectBytes) + " bytes");
  for (auto &[phase, time] : seconds)
    row("Time, " + phase, llvm::formatv("{0:f3} s", time).str());
  row("Peak memory", Twine(peakBytes >> 20) + " MiB");
  os << "</table>\n";
  drawBitsMap(os, layers);
  if (allocation)
    drawFrontier(os, *allocation);
  if (!problems.empty()) {
    os << "<h2>Problems</h2>\n<ul>\n";
    for (const std::string &problem : problems)
      os << "<li>" << escape(problem) << "</li>\n";
    os << "</ul>\n";
  }
  os << "<h2>Layers</h2>\n<table>\n<tr><th>Name</th><th>Op</th><th>Shape</th><th>Encoding</th><th class=\"n\">Bits</th></tr>\n";
  for (const Layer &layer : layers) {
    os << "<tr><td>" << escape(layer.name) << "</td><td>" << layer.op << "</td><td>";
    llvm::interleave(layer.shape, os, "×");
    os << "</td><td>" << escape(layer.encoding) << (layer.note.empty() ? "" : "<br>" + escape(layer.note))
       << "</td><td class=\"n\">" << llvm::format("%.3f", layer.bitsPerWeight) << "</td></tr>\n";
  }
  os << "</table>\n</html>\n";
  return text;
}

llvm::Error Report::write(StringRef path) const {
  bool html = path.ends_with(".html");
  if (!html && !path.ends_with(".json"))
    return ::quanta::userError("cannot write the report '" + path + "': its name must end in .json or .html");
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (!ec) {
    if (html)
      os << toHTML();
    else
      os << llvm::formatv("{0:2}", toJSON()) << "\n";
    os.close();
    ec = os.error();
    os.clear_error();
  }
  return ec ? ::quanta::userError("cannot write the report '" + path + "': " + ec.message()) : llvm::Error::success();
}
