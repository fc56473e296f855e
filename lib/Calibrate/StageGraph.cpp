//===- StageGraph.cpp - A model cut in front of its layers ----------------------------------------------------------------===//
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Port;
using ::quanta::userError;

/// Calls `use` with each value that an op of the function's body reads, in regions too.
static void forEachUse(Operation *op, llvm::function_ref<void(Value)> use) {
  Region *body = op->getParentRegion();
  op->walk([&](Operation *inner) {
    for (Value value : inner->getOperands())
      if (value.getParentRegion() == body)
        use(value);
  });
}

static std::string describeLayer(Operation *op) {
  std::string name = getNodeName(op->getLoc());
  return name.empty() ? "a layer" : "layer '" + name + "'";
}

//===- Stages -------------------------------------------------------------------------------------------------------------===//

llvm::Expected<LayerStages> mlir::quanta::findStages(ModuleOp module) {
  auto main = module.lookupSymbol<func::FuncOp>("main");
  if (!main || main.isExternal() || !main.getBody().hasOneBlock())
    return userError("expected a function @main of one block to calibrate");
  llvm::MapVector<Value, SmallVector<int64_t>> byInput;
  SmallVector<Operation *> layers;
  std::string refused;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    op->removeAttr(kLayerNumber);
    if (!op->hasAttr("quanta.selected") || !isa<LinearOp, Conv2DOp>(op) || getEncoding(op->getOperand(1).getType()))
      return;
    if (op->getBlock() != &main.getBody().front()) {
      refused += (refused.empty() ? "" : "; ") + describeLayer(op);
      return;
    }
    byInput[op->getOperand(0)].push_back(static_cast<int64_t>(layers.size()));
    layers.push_back(op);
  });
  if (!refused.empty())
    return userError("layers in branches, loops or other functions than @main cannot be calibrated; keep them in float "
                     "(keep=REGEX): " + refused);
  OpBuilder builder(module.getContext());
  for (auto [number, op] : llvm::enumerate(layers))
    op->setAttr(kLayerNumber, builder.getI64IntegerAttr(static_cast<int64_t>(number)));
  LayerStages stages;
  for (auto &[input, numbers] : byInput)
    stages.push_back(std::move(numbers));
  return stages;
}

llvm::Expected<std::vector<Port>> mlir::quanta::getInputPorts(func::FuncOp main) {
  auto names = main->getAttrOfType<ArrayAttr>("quanta.inputs"), types = main->getAttrOfType<ArrayAttr>("quanta.input_types");
  std::vector<Port> ports;
  for (auto [i, type] : llvm::enumerate(main.getArgumentTypes())) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    if (!tensor)
      return userError("input " + Twine(i) + " of @main is not a tensor");
    std::string element;
    auto name = names && i < names.size() ? dyn_cast<StringAttr>(names[i]) : StringAttr();
    if (auto given = types && i < types.size() ? dyn_cast<StringAttr>(types[i]) : StringAttr())
      element = given.str();
    else
      llvm::raw_string_ostream(element) << tensor.getElementType();
    std::optional<quanta_type> found = ::quanta::findPortType(element);
    if (!found)
      return userError("input " + Twine(i) + " of @main has elements of type " + element + ", which data cannot have");
    Port port{name ? name.str() : ("input" + Twine(i)).str(), *found, {}};
    for (int64_t size : tensor.getShape())
      port.shape.push_back(ShapedType::isDynamic(size) ? -1 : size);
    ports.push_back(std::move(port));
  }
  return ports;
}

//===- Cuts ---------------------------------------------------------------------------------------------------------------===//

llvm::Expected<StageGraph> StageGraph::create(ModuleOp module, const LayerStages &stages) {
  StageGraph graph;
  graph.main = module.lookupSymbol<func::FuncOp>("main");
  if (!graph.main)
    return userError("expected a function @main to calibrate");
  DenseMap<int64_t, Operation *> firstParts;
  for (Operation &op : graph.main.getBody().front()) {
    if (auto number = op.getAttrOfType<IntegerAttr>(kLayerPart))
      firstParts.try_emplace(number.getInt(), &op);
    if (auto number = op.getAttrOfType<IntegerAttr>(kLayerNumber))
      if (!graph.layers.try_emplace(number.getInt(), &op).second)
        return userError(describeLayer(&op) + " was copied by the nested pipeline, which calibration does not support");
  }
  for (const auto &numbers : stages) {
    Cut cut;
    for (int64_t number : numbers) {
      Operation *layer = graph.layers.lookup(number);
      if (!layer)
        return userError("layer " + Twine(number) + " was removed by the nested pipeline, which calibration does not support");
      if (Operation *part = firstParts.lookup(number))
        layer = part;
      if (!cut.position || layer->isBeforeInBlock(cut.position))
        cut.position = layer;
    }
    cut.input = cut.position->getOperand(0);
    graph.cuts.push_back(cut);
  }
  graph.findIndependent();
  graph.findLive(stages);
  return graph;
}

void StageGraph::findIndependent() {
  for (Operation &op : main.getBody().front()) {
    if (!op.getNumResults() || !isMemoryEffectFree(&op) || op.hasAttr(kLayerNumber))
      continue;
    // Only the shape of an input counts here.
    auto dim = dyn_cast<tensor::DimOp>(op);
    bool known = true;
    forEachUse(&op, [&](Value value) {
      bool shapeOfInput = dim && value == dim.getSource() && isa<BlockArgument>(value);
      known &= shapeOfInput || independent.contains(value);
    });
    if (known)
      independent.insert(op.result_begin(), op.result_end());
  }
}

void StageGraph::findLive(const LayerStages &stages) {
  Block &body = main.getBody().front();
  DenseSet<Value> wanted; // by what lies behind the cut
  size_t next = stages.size();
  auto takeCuts = [&](Operation *op) {
    while (next && cuts[next - 1].position == op) {
      Cut &cut = cuts[--next];
      wanted.insert(cut.input);
      for (Operation &before : llvm::make_range(body.begin(), op->getIterator()))
        for (Value value : before.getResults())
          if (wanted.contains(value) && !independent.contains(value))
            cut.live.push_back(value);
    }
  };
  if (cuts.empty())
    return;
  // Backwards from the last cut: an op is needed if something behind it needs its results.
  for (auto it = cuts.back().position->getIterator();; --it) {
    Operation *op = &*it;
    bool needed = llvm::any_of(op->getResults(), [&](Value value) { return wanted.contains(value); });
    if (op != cuts.back().position && (needed || isa<cf::AssertOp>(op)))
      forEachUse(op, [&](Value value) { wanted.insert(value); });
    takeCuts(op);
    if (it == body.begin())
      break;
  }
}

//===- Modules ------------------------------------------------------------------------------------------------------------===//

llvm::Expected<StageModule> StageGraph::extract(size_t stage, bool keepOutputs) const {
  return extract(stage ? ArrayRef<Value>(cuts[stage - 1].live) : ArrayRef<Value>(), stage,
                 keepOutputs ? ArrayRef<Value>(cuts[stage].live) : ArrayRef<Value>());
}

SmallVector<Value> StageGraph::getAllLive() const {
  llvm::SetVector<Value> all;
  for (const Cut &cut : cuts) {
    all.insert(cut.live.begin(), cut.live.end());
    all.insert(cut.input);
  }
  return all.takeVector();
}

llvm::Expected<StageModule> StageGraph::extractAll() const { return extract({}, cuts.size() - 1, getAllLive()); }

/// Only tensors are handed over; a scalar becomes a tensor of one 64-bit integer.
static Value toTensor(OpBuilder &b, Value value) {
  if (isa<RankedTensorType>(value.getType()))
    return value;
  Location loc = value.getLoc();
  if (value.getType().isIndex())
    value = arith::IndexCastOp::create(b, loc, b.getI64Type(), value);
  return tensor::FromElementsOp::create(b, loc, RankedTensorType::get({1}, value.getType()), value);
}

static Type getKeptType(Type type) {
  if (isa<RankedTensorType>(type))
    return type;
  return RankedTensorType::get({1}, type.isIndex() ? Type(IntegerType::get(type.getContext(), 64)) : type);
}

static Value fromTensor(OpBuilder &b, Value kept, Type type) {
  if (isa<RankedTensorType>(type))
    return kept;
  Value zero = arith::ConstantIndexOp::create(b, kept.getLoc(), 0);
  Value value = tensor::ExtractOp::create(b, kept.getLoc(), kept, zero);
  return type.isIndex() ? Value(arith::IndexCastOp::create(b, kept.getLoc(), type, value)) : value;
}

llvm::Expected<StageModule> StageGraph::extract(ArrayRef<Value> from, size_t stage, ArrayRef<Value> kept) const {
  const Cut &to = cuts[stage];
  func::FuncOp main = this->main; // ops have no const accessors
  SmallVector<Value> outputs(kept);
  StageModule result;
  result.keptInputs = static_cast<int64_t>(from.size());
  result.keptOutputs = static_cast<int64_t>(outputs.size());
  outputs.push_back(to.input);
  for (Value value : llvm::concat<const Value>(from, outputs))
    if (!value.getType().isIntOrIndexOrFloat() && (!isa<RankedTensorType>(value.getType()) || getEncoding(value.getType())))
      return userError("a value of type " + llvm::formatv("{0}", value.getType()).str() + " in front of " +
                       describeLayer(to.position) + " cannot be kept on disk; keep the layer in float (keep=REGEX)");

  // What the outputs need, back to the kept values.
  DenseSet<Value> given(from.begin(), from.end());
  DenseSet<Operation *> needed;
  SmallVector<Value> worklist(outputs);
  Block &body = main.getBody().front();
  Operation *first = from.empty() ? nullptr : cuts[stage - 1].position;
  for (auto assertion : body.getOps<cf::AssertOp>())
    if (assertion->isBeforeInBlock(to.position) &&
        (!first || !assertion->isBeforeInBlock(first) || independent.contains(assertion.getArg()))) {
      needed.insert(assertion);
      worklist.push_back(assertion.getArg());
    }
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (op && !given.contains(value) && needed.insert(op).second)
      forEachUse(op, [&](Value operand) { worklist.push_back(operand); });
  }

  OpBuilder b(main.getContext());
  result.module = ModuleOp::create(b, main.getLoc());
  b.setInsertionPointToStart(result.module->getBody());
  SmallVector<Type> arguments(main.getArgumentTypes()), types;
  for (Value value : from)
    arguments.push_back(getKeptType(value.getType()));
  for (Value value : outputs)
    types.push_back(getKeptType(value.getType()));
  auto function = func::FuncOp::create(b, main.getLoc(), "main", b.getFunctionType(arguments, types));
  auto ports = getInputPorts(main);
  if (!ports)
    return ports.takeError();
  SmallVector<Attribute> inputNames, outputNames;
  for (const Port &port : *ports)
    inputNames.push_back(b.getStringAttr(port.name));
  for (size_t i = 0; i < from.size(); ++i)
    inputNames.push_back(b.getStringAttr("value" + Twine(i)));
  for (int64_t i = 0; i < result.keptOutputs; ++i)
    outputNames.push_back(b.getStringAttr("value" + Twine(i)));
  outputNames.push_back(b.getStringAttr("input"));
  function->setAttr("quanta.inputs", b.getArrayAttr(inputNames));
  function->setAttr("quanta.outputs", b.getArrayAttr(outputNames));
  for (StringRef name : {"quanta.input_types", "quanta.dims"}) // of the model's inputs; the others are as they are
    if (Attribute attr = main->getAttr(name))
      function->setAttr(name, attr);

  Block *block = function.addEntryBlock();
  b.setInsertionPointToStart(block);
  IRMapping mapping;
  for (auto [argument, copy] : llvm::zip(main.getArguments(), block->getArguments()))
    mapping.map(argument, copy);
  for (auto [i, value] : llvm::enumerate(from))
    mapping.map(value, fromTensor(b, block->getArgument(static_cast<unsigned>(main.getNumArguments() + i)), value.getType()));
  for (Operation &op : body)
    if (needed.contains(&op))
      b.clone(op, mapping);
  SmallVector<Value> results;
  for (Value value : outputs)
    results.push_back(toTensor(b, mapping.lookup(value)));
  func::ReturnOp::create(b, main.getLoc(), results);
  return result;
}
