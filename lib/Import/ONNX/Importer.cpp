//===- Importer.cpp - From the file to onnx.node ------------------------------------------------------------------===//
//
// Planning walks the whole model, finds each node's row and reports every problem; it builds nothing. Building runs
// only if there is none, infers shapes as it goes and may still find operands that do not fit together.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include "Binder.h"
#include "Inference.h"
#include "mlir/IR/Verifier.h"
#include "quanta/Import/ONNX/Import.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// A dimension as the file has it: a size or a name.
struct Dim {
  int64_t size = ShapedType::kDynamic;
  std::string name;
};

struct Port {
  std::string name;
  Type elementType;
  std::optional<SmallVector<Dim>> dims; ///< nothing if the file does not give a shape
};

class Importer {
public:
  Importer(::onnx::ModelProto &model, StringRef path, StringRef directory, bool hasFile, const ImportOptions &options,
           MLIRContext *context, Problems &problems)
      : model(model), path(path), options(options), context(context), problems(problems),
        weights(hasFile ? path : "", directory, context) {}

  void plan();
  FailureOr<OwningOpRef<ModuleOp>> build();

private:
  void planModel();
  void planDims();
  void planGraph(const ::onnx::GraphProto &graph, SmallVectorImpl<llvm::StringSet<>> &scopes, bool top);
  void planNode(const ::onnx::NodeProto &node, const llvm::StringMap<int64_t> &opsets, bool top);
  std::optional<Port> readPort(const ::onnx::ValueInfoProto &info, bool needsShape, bool report);
  void collectUsed(const ::onnx::GraphProto &graph);
  /// Binds dimensions of the command line and names unnamed ones.
  void resolve(Port &port);
  void checkDeclared(const Port &declared, Value value);
  Location location(StringRef name, unsigned line) {
    return NameLoc::get(StringAttr::get(context, name), FileLineColLoc::get(context, path, line, 0));
  }

  ::onnx::ModelProto &model;
  std::string path;
  const ImportOptions &options;
  MLIRContext *context;
  Problems &problems;
  WeightStore weights;
  llvm::StringMap<int64_t> opsets;
  llvm::StringSet<> functions, used, dimNames;
  SmallVector<Port> inputs, outputs;
  /// For each node of the graph its row and schema version.
  SmallVector<std::pair<const OpRow *, int64_t>> rows;
};
} // namespace

static StringRef normalizeDomain(StringRef domain) { return domain == "ai.onnx" ? "" : domain; }
static std::string operatorName(const ::onnx::NodeProto &node) {
  StringRef domain = normalizeDomain(node.domain());
  return ((domain.empty() ? "ai.onnx" : domain) + "::" + node.op_type()).str();
}

//===- Plan -------------------------------------------------------------------------------------------------------===//

template <typename List> static llvm::StringMap<int64_t> readOpsets(const List &imports) {
  llvm::StringMap<int64_t> result;
  for (const auto &import : imports) {
    int64_t &version = result[normalizeDomain(import.domain())];
    version = std::max(version, int64_t(import.version()));
  }
  return result;
}

static void forEachGraph(const ::onnx::NodeProto &node, llvm::function_ref<void(const ::onnx::GraphProto &)> visit) {
  for (const auto &attribute : node.attribute()) {
    if (attribute.has_g())
      visit(attribute.g());
    for (const auto &graph : attribute.graphs())
      visit(graph);
  }
}

void Importer::collectUsed(const ::onnx::GraphProto &graph) {
  for (const auto &output : graph.output())
    used.insert(output.name());
  for (const auto &node : graph.node()) {
    for (const std::string &input : node.input())
      used.insert(input);
    forEachGraph(node, [&](const ::onnx::GraphProto &sub) { collectUsed(sub); });
  }
}

void Importer::planModel() {
  opsets = readOpsets(model.opset_import());
  std::string text;
  for (const auto &import : model.opset_import())
    text += (text.empty() ? "" : ", ") + (normalizeDomain(import.domain()).empty() ? "ai.onnx" : import.domain()) +
            " " + std::to_string(import.version());
  problems.opset = text;
  problems.producer = model.producer_name() + (model.producer_version().empty() ? "" : " " + model.producer_version());
  int64_t opset = opsets.lookup("");
  if (opset <= 0) {
    problems.error("bad model", "no opset of ai.onnx is imported");
  } else if (opset > getNewestOpset()) {
    std::string subject =
        "ai.onnx " + std::to_string(opset) + ", the newest known is " + std::to_string(getNewestOpset());
    if (options.assumeCompatible)
      problems.warning("newer opset", subject + ": taken to mean the same");
    else
      problems.error("newer opset", subject + " (--onnx-assume-compatible takes it to mean the same)");
  }
  for (const auto &function : model.functions())
    functions.insert((normalizeDomain(function.domain()) + "::" + function.name()).str());
}

void Importer::planNode(const ::onnx::NodeProto &node, const llvm::StringMap<int64_t> &imports, bool top) {
  ++problems.nodeCount;
  StringRef domain = normalizeDomain(node.domain());
  std::string subject = operatorName(node), name = getDisplayName(node);
  if (top)
    rows.push_back({nullptr, 0});
  constexpr int metadata = 9, devices = 10;
  if (functions.contains((domain + "::" + node.op_type()).str()))
    return problems.error("unsupported operator", subject + " (model-local function)", "node", name);
  if (hasUnknownFields(node.unknown_fields(), {metadata, devices}))
    return problems.error("bad node", subject + "  has fields that are not known", "node", name);
  int64_t opset = imports.lookup(domain), version = domain.empty() ? getSchemaVersion(node.op_type(), opset) : opset;
  auto supported = findVersions(domain, node.op_type());
  if (!imports.contains(domain) && !domain.empty())
    return problems.error("unsupported operator", subject + " (its domain's opset is not imported)", "node", name);
  std::string schema = version ? " (schema " + std::to_string(version) + ")" : "";
  if (supported.empty())
    return problems.error("unsupported operator", subject + schema, "node", name);
  const OpRow *row = findRow(domain, node.op_type(), version);
  if (!row) {
    std::string ranges;
    for (const Versions &range : supported)
      ranges += (ranges.empty() ? "" : ", ") + std::to_string(range.first) +
                (range.last == range.first ? "" : ".." + std::to_string(range.last));
    return problems.error("unsupported version", subject + " (schema " + Twine(version) + "; supported " + ranges + ")",
                          "node", name);
  }
  checkNode(node, *row, subject, weights, problems);
  if (node.output_size() == 0 || (!row->versions.manyOutputs && node.output(0).empty()))
    problems.error("bad node", subject + "  has no output", "node", name);
  for (int i = 1; i < node.output_size() && !row->versions.manyOutputs; ++i)
    if (!node.output(i).empty() && used.contains(node.output(i)))
      problems.error("unsupported output", subject + "  output " + Twine(i), "node", name);
  if (top)
    rows.back() = {row, version};
}

void Importer::planGraph(const ::onnx::GraphProto &graph, SmallVectorImpl<llvm::StringSet<>> &scopes, bool top) {
  auto &own = scopes.emplace_back();
  auto define = [&](StringRef name, StringRef unit, const Twine &where) {
    if (!name.empty() && !scopes.back().insert(name).second)
      problems.error("bad graph", "name '" + name + "' is defined twice", unit, where);
  };
  if (graph.sparse_initializer_size())
    problems.error("unsupported tensor", "sparse initializers");
  for (const auto &tensor : graph.initializer()) {
    std::string why;
    if (tensor.name().empty())
      problems.error("bad tensor", "an initializer has no name");
    else
      define(tensor.name(), "tensor", tensor.name());
    if (used.contains(tensor.name()) && failed(weights.check(tensor, why)))
      problems.error("bad tensor", why, "tensor", tensor.name());
  }
  llvm::StringSet<> seenInputs, later;
  for (const auto &input : graph.input()) {
    if (input.name().empty() || !seenInputs.insert(input.name()).second) {
      problems.error("bad graph", "inputs must have names that differ", "input", input.name());
      continue;
    }
    // Before IR version 4 every initializer had to be listed; after, this makes it a default value.
    if (own.contains(input.name())) {
      if (top)
        problems.warning("constant input", "has an initializer and cannot be set", "input", input.name());
      continue;
    }
    own.insert(input.name());
    if (auto port = top ? readPort(input, true, true) : std::nullopt)
      inputs.push_back(std::move(*port));
  }
  for (const auto &node : graph.node())
    for (const std::string &output : node.output())
      later.insert(output);
  for (const auto &node : graph.node()) {
    for (const std::string &input : node.input())
      if (!input.empty() && llvm::none_of(scopes, [&](const auto &scope) { return scope.contains(input); }))
        problems.error("bad graph",
                       Twine(later.contains(input) ? "value used before it is defined: '" : "undefined value '") +
                           input + "'",
                       "node", getDisplayName(node));
    planNode(node, opsets, top);
    forEachGraph(node, [&](const ::onnx::GraphProto &sub) { planGraph(sub, scopes, false); });
    for (const std::string &output : node.output())
      define(output, "node", getDisplayName(node));
  }
  for (const auto &output : graph.output()) {
    if (llvm::none_of(scopes, [&](const auto &scope) { return scope.contains(output.name()); }))
      problems.error("bad graph", "undefined output '" + output.name() + "'");
    if (!top)
      continue;
    if (auto port = readPort(output, false, true))
      outputs.push_back(std::move(*port));
  }
  if (top && graph.output_size() == 0)
    problems.error("bad graph", "the model has no output");
  scopes.pop_back();
}

std::optional<Port> Importer::readPort(const ::onnx::ValueInfoProto &info, bool needsShape, bool report) {
  auto fail = [&](const Twine &why) -> std::optional<Port> {
    if (report)
      problems.error("unsupported type", why, "value", info.name());
    return std::nullopt;
  };
  Port port{info.name(), {}, std::nullopt};
  if (!info.has_type() && !needsShape)
    return port;
  if (!info.type().has_tensor_type())
    return fail("not a tensor");
  const auto &type = info.type().tensor_type();
  auto element = getElementType(type.elem_type(), context);
  if (!element)
    return fail("data type " + getDataTypeName(type.elem_type()));
  port.elementType = *element;
  if (!type.has_shape())
    return needsShape ? fail("unknown rank") : port;
  if (type.shape().dim_size() > 32)
    return fail("more than 32 dimensions");
  port.dims.emplace();
  int64_t count = 1;
  for (const auto &dim : type.shape().dim()) {
    Dim &result = port.dims->emplace_back();
    result.name = dim.dim_param();
    if (!dim.has_dim_value())
      continue;
    // Some exporters write -1 for "any".
    if (dim.dim_value() < -1)
      return fail("negative size");
    if (dim.dim_value() == -1)
      continue;
    result.size = dim.dim_value();
    if (result.size && (llvm::MulOverflow(count, result.size, count) || count > (int64_t(1) << 48)))
      return fail("too large");
  }
  return port;
}

void Importer::resolve(Port &port) {
  if (!port.dims)
    return;
  for (auto [axis, dim] : llvm::enumerate(*port.dims))
    if (auto it = options.dims.find(dim.name); !dim.name.empty() && it != options.dims.end())
      dim.size = it->second;
}

void Importer::planDims() {
  for (const Port &port : inputs)
    for (const Dim &dim : *port.dims)
      if (!dim.name.empty())
        dimNames.insert(dim.name);
  for (Port &port : inputs)
    for (auto [axis, dim] : llvm::enumerate(*port.dims))
      if (dim.size == ShapedType::kDynamic && dim.name.empty()) {
        dim.name = port.name + ".dim" + std::to_string(axis);
        while (!dimNames.insert(dim.name).second)
          dim.name += "'";
      }
  SmallVector<StringRef> bound = llvm::to_vector(options.dims.keys());
  llvm::sort(bound);
  for (StringRef name : bound) {
    int64_t size = options.dims.lookup(name);
    if (!dimNames.contains(name))
      problems.error("unknown dimension", "no input has a dimension named '" + name + "'");
    else if (size < 0 || size > INT32_MAX)
      problems.error("bad size", "of dimension " + name + ": " + Twine(size));
    else
      problems.warning("bound dimension", name + " = " + Twine(size));
  }
  for (Port &port : inputs)
    resolve(port);
  for (Port &port : outputs)
    resolve(port);
}

void Importer::plan() {
  planModel();
  collectUsed(model.graph());
  SmallVector<llvm::StringSet<>> scopes;
  planGraph(model.graph(), scopes, true);
  for (const auto &function : model.functions()) {
    auto imports = readOpsets(function.opset_import());
    for (const auto &node : function.node())
      planNode(node, imports, false);
  }
  planDims();
}

//===- Build ------------------------------------------------------------------------------------------------------===//

static std::string describe(const Port &port) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "tensor<";
  for (const Dim &dim : *port.dims)
    dim.size == ShapedType::kDynamic ? os << "?x" : os << dim.size << "x";
  if (port.elementType)
    os << port.elementType;
  os << '>';
  return text;
}

static std::string print(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

void Importer::checkDeclared(const Port &declared, Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (declared.elementType && declared.elementType != type.getElementType())
    problems.error("wrong type", "declared " + print(declared.elementType) + ", inferred " + print(type), "value",
                   declared.name);
  if (!declared.dims)
    return;
  if (int64_t(declared.dims->size()) != type.getRank())
    return problems.error("wrong type", "declared " + describe(declared) + ", inferred " + print(type), "value",
                          declared.name);
  for (auto [dim, size] : llvm::zip(*declared.dims, type.getShape()))
    if (dim.size != ShapedType::kDynamic && size != ShapedType::kDynamic && dim.size != size)
      return problems.warning("declared shape", "declared " + describe(declared) + ", inferred " + print(type), "value",
                              declared.name);
}

static ArrayAttr dimsAttr(Builder &b, const Port &port) {
  return b.getArrayAttr(llvm::map_to_vector(*port.dims, [&](const Dim &dim) -> Attribute {
    if (dim.size != ShapedType::kDynamic)
      return b.getI64IntegerAttr(dim.size);
    return b.getStringAttr(dim.name.empty() ? "?" : dim.name);
  }));
}

FailureOr<OwningOpRef<ModuleOp>> Importer::build() {
  context->loadDialect<arith::ArithDialect, func::FuncDialect, mlir::onnx::ONNXDialect>();
  OpBuilder b(context);
  ::onnx::GraphProto &graph = *model.mutable_graph();
  OwningOpRef<ModuleOp> module = ModuleOp::create(b, FileLineColLoc::get(context, path, 0, 0));
  (*module)->setAttr("quanta.name", b.getStringAttr(llvm::sys::path::stem(path)));
  SymbolicShapes shapes(context);
  llvm::StringMap<Value> values;

  SmallVector<Type> argumentTypes;
  for (const Port &port : inputs)
    argumentTypes.push_back(RankedTensorType::get(
        llvm::map_to_vector(*port.dims, [](const Dim &dim) { return dim.size; }), port.elementType));
  b.setInsertionPointToEnd(module->getBody());
  auto function = func::FuncOp::create(b, module->getLoc(), "main", b.getFunctionType(argumentTypes, {}));
  b.setInsertionPointToEnd(function.addEntryBlock());
  for (auto [port, argument] : llvm::zip(inputs, function.getArguments())) {
    ValueShape shape;
    for (const Dim &dim : *port.dims)
      shape.dims.push_back(dim.size == ShapedType::kDynamic ? shapes.context().dim(dim.name)
                                                            : shapes.context().constant(dim.size));
    shapes.set(argument, std::move(shape));
    values[port.name] = argument;
  }

  auto makeConstant = [&](ElementsAttr value, Location loc, StringRef name) {
    auto op = arith::ConstantOp::create(b, loc, value);
    shapes.addConstant(op);
    values[name] = op;
  };
  for (auto &tensor : *graph.mutable_initializer())
    if (used.contains(tensor.name()))
      makeConstant(weights.take(tensor, tensor.name()), location(tensor.name(), 0), tensor.name());

  for (int index = 0; index < graph.node_size(); ++index) {
    ::onnx::NodeProto &node = *graph.mutable_node(index);
    const OpRow *row = rows[index].first;
    int64_t version = rows[index].second;
    std::string name = getDisplayName(node);
    Location loc = location(node.name().empty() ? node.output(0) : node.name(), index);
    auto fail = [&](const Twine &why) -> LogicalResult {
      problems.error("bad node", operatorName(node) + "  " + why, "node", name);
      return failure();
    };
    if (row->op == "Constant") {
      auto &attribute = *node.mutable_attribute(0);
      ElementsAttr value;
      auto list = [&](int64_t size, Type type) { return RankedTensorType::get({size}, type); };
      if (attribute.name() == "value")
        value = weights.take(*attribute.mutable_t(), node.output(0));
      else if (attribute.name() == "value_int")
        value = DenseElementsAttr::get(RankedTensorType::get({}, b.getI64Type()), int64_t(attribute.i()));
      else if (attribute.name() == "value_float")
        value = DenseElementsAttr::get(RankedTensorType::get({}, b.getF32Type()), attribute.f());
      else if (attribute.name() == "value_ints")
        value = DenseElementsAttr::get(list(attribute.ints_size(), b.getI64Type()),
                                       ArrayRef(attribute.ints().data(), attribute.ints_size()));
      else
        value = DenseElementsAttr::get(list(attribute.floats_size(), b.getF32Type()),
                                       ArrayRef(attribute.floats().data(), attribute.floats_size()));
      makeConstant(value, loc, node.output(0));
      continue;
    }
    SmallVector<Value> operands;
    SmallVector<bool> present;
    for (const std::string &input : node.input()) {
      present.push_back(!input.empty());
      if (!input.empty())
        operands.push_back(values.lookup(input));
    }
    while (!present.empty() && !present.back())
      present.pop_back();
    DictionaryAttr attributes = buildAttributes(node, weights, context);
    unsigned resultCount = row->versions.manyOutputs ? node.output_size() : 1;
    SmallVector<Type> unknown(resultCount, b.getNoneType());
    auto op = mlir::onnx::NodeOp::create(
        b, loc, unknown, b.getStringAttr(row->op), b.getStringAttr(row->domain), b.getI64IntegerAttr(version), operands,
        attributes, llvm::is_contained(present, false) ? b.getDenseBoolArrayAttr(present) : DenseBoolArrayAttr(), 0);
    std::string why;
    auto types = shapes.addNode(op, why);
    if (failed(types))
      return fail(why);
    for (auto [result, type] : llvm::zip(op->getResults(), *types))
      result.setType(type);
    for (unsigned i = 0; i < resultCount; ++i)
      if (!node.output(i).empty())
        values[node.output(i)] = op->getResult(i);
  }

  SmallVector<Value> results;
  SmallVector<Attribute> inputNames, outputNames, inputDims, outputDims;
  for (const Port &port : inputs) {
    inputNames.push_back(b.getStringAttr(port.name));
    inputDims.push_back(dimsAttr(b, port));
  }
  for (Port &port : outputs) {
    results.push_back(values.lookup(port.name));
    checkDeclared(port, results.back());
    if (!port.dims)
      port.dims = SmallVector<Dim>(cast<RankedTensorType>(results.back().getType()).getRank());
    outputNames.push_back(b.getStringAttr(port.name));
    outputDims.push_back(dimsAttr(b, port));
  }
  for (const auto &info : graph.value_info())
    if (auto it = values.find(info.name()); it != values.end())
      if (auto port = readPort(info, false, false)) {
        resolve(*port);
        checkDeclared(*port, it->second);
      }
  if (problems.hasErrors())
    return failure();
  func::ReturnOp::create(b, module->getLoc(), results);
  function.setType(b.getFunctionType(argumentTypes, TypeRange(ValueRange(results))));
  function->setAttr("quanta.inputs", b.getArrayAttr(inputNames));
  function->setAttr("quanta.outputs", b.getArrayAttr(outputNames));
  function->setAttr("quanta.dims", b.getArrayAttr(inputDims));
  function->setAttr("quanta.output_dims", b.getArrayAttr(outputDims));
  if (failed(verify(*module))) {
    problems.error("internal error", "the imported module is not valid");
    return failure();
  }
  return module;
}

static FailureOr<OwningOpRef<ModuleOp>> importBuffer(llvm::MemoryBufferRef buffer, StringRef directory, bool hasFile,
                                                     const ImportOptions &options, MLIRContext *context,
                                                     Problems &problems) {
  auto model = parseModel(buffer, problems);
  if (!model)
    return failure();
  Importer importer(*model, buffer.getBufferIdentifier(), directory, hasFile, options, context, problems);
  importer.plan();
  if (problems.hasErrors())
    return failure();
  return importer.build();
}

FailureOr<OwningOpRef<ModuleOp>> quanta::importONNX(StringRef path, const ImportOptions &options, MLIRContext *context,
                                                    Problems &problems) {
  problems.model = path.str();
  std::string why;
  auto buffer = openFile(path, why);
  if (!buffer) {
    problems.error("bad file", why);
    return failure();
  }
  StringRef directory = llvm::sys::path::parent_path(path);
  return importBuffer(llvm::MemoryBufferRef(buffer->getBuffer(), path), directory.empty() ? "." : directory, true,
                      options, context, problems);
}

FailureOr<OwningOpRef<ModuleOp>> quanta::importONNX(llvm::MemoryBufferRef buffer, const ImportOptions &options,
                                                    MLIRContext *context, Problems &problems) {
  problems.model = buffer.getBufferIdentifier().str();
  return importBuffer(buffer, options.externalDirectory, false, options, context, problems);
}
