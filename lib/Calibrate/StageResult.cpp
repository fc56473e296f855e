//===- StageResult.cpp - What solving a stage has changed -----------------------------------------------------------------===//
#include "StageResult.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Error.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

/// Of the function: for each argument the number of a layer and of its operand.
static constexpr StringLiteral kArguments = "quanta.operands";

/// What a constant holds, or null. Unlike the op it cannot be replaced by another one in the same place.
static Attribute getConstant(Value value) {
  Operation *op = value.getDefiningOp();
  return op && op->hasTrait<OpTrait::ConstantLike>() ? op->getAttrDictionary() : Attribute();
}

LayerRecord::LayerRecord(int64_t number, Operation *layer) : number(number) {
  for (Value operand : layer->getOperands())
    operands.push_back({operand, getConstant(operand)});
}

namespace {
class ResultBuilder {
public:
  ResultBuilder(MLIRContext *context) : b(context), module(ModuleOp::create(b, b.getUnknownLoc())) {
    b.setInsertionPointToStart(module->getBody());
    function = func::FuncOp::create(b, b.getUnknownLoc(), "stage", b.getFunctionType({}, {}));
    function.addEntryBlock();
    b.setInsertionPointToStart(&function.getBody().front());
  }

  llvm::Error add(const LayerRecord &before, Operation *layer) {
    // Ops that solving has put in front of the layer read what the layer has read.
    for (auto [i, operand] : llvm::enumerate(before.operands))
      if (!operand.second && !mapping.contains(operand.first))
        addArgument(operand.first, before.number, static_cast<int64_t>(i));
    for (auto [i, operand] : llvm::enumerate(layer->getOperands())) {
      if (mapping.contains(operand))
        continue;
      Attribute constant = getConstant(operand);
      if (i < before.operands.size() && constant == before.operands[i].second &&
          (constant ? operand.getType() == before.operands[i].first.getType() : operand == before.operands[i].first))
        addArgument(operand, before.number, static_cast<int64_t>(i));
      else if (!import(operand))
        return userError("what was made of layer " + Twine(before.number) + " depends on other values than the layer's "
                         "operands and cannot be saved");
    }
    b.clone(*layer, mapping);
    return llvm::Error::success();
  }

  std::string finish() {
    func::ReturnOp::create(b, b.getUnknownLoc());
    SmallVector<Type> types(function.getBody().getArgumentTypes());
    function.setType(b.getFunctionType(types, {}));
    function->setAttr(kArguments, b.getDenseI64ArrayAttr(arguments));
    std::string bytes;
    llvm::raw_string_ostream os(bytes);
    (void)writeBytecodeToFile(*module, os); // fails only for versions that are not written any more
    return bytes;
  }

private:
  void addArgument(Value value, int64_t layer, int64_t operand) {
    mapping.map(value, function.getBody().addArgument(value.getType(), value.getLoc()));
    arguments.append({layer, operand});
  }
  bool import(Value value) {
    if (mapping.contains(value))
      return true;
    Operation *op = value.getDefiningOp();
    if (!op || op->getNumRegions() || !llvm::all_of(op->getOperands(), [&](Value operand) { return import(operand); }))
      return false;
    b.clone(*op, mapping);
    return true;
  }

  OpBuilder b;
  OwningOpRef<ModuleOp> module;
  func::FuncOp function;
  IRMapping mapping;
  SmallVector<int64_t> arguments;
};
} // namespace

llvm::Error mlir::quanta::saveStageResult(ArrayRef<LayerRecord> before, llvm::function_ref<Operation *(int64_t)> getLayer,
                                          StringRef path) {
  if (before.empty())
    return llvm::Error::success();
  ResultBuilder builder(getLayer(before.front().number)->getContext());
  // The layers' input comes first, so that ops on it find it.
  for (const LayerRecord &record : before)
    if (llvm::Error error = builder.add(record, getLayer(record.number)))
      return error;
  std::string bytes = builder.finish();
  llvm::Error error = llvm::writeToOutput(path, [&](llvm::raw_ostream &os) {
    os << bytes;
    return llvm::Error::success();
  });
  return error ? userError("'" + path + "' cannot be written: " + llvm::toString(std::move(error))) : llvm::Error::success();
}

llvm::Error mlir::quanta::restoreStageResult(MLIRContext *context, llvm::function_ref<Operation *(int64_t)> getLayer,
                                             StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return userError("'" + path + "' cannot be read: " + buffer.getError().message());
  // Weights in bytecode must be aligned in memory.
  StringRef bytes = (*buffer)->getBuffer();
  auto copy = llvm::WritableMemoryBuffer::getNewUninitMemBuffer(bytes.size(), path, llvm::Align(64));
  llvm::copy(bytes, copy->getBufferStart());
  auto sources = std::make_shared<llvm::SourceMgr>();
  sources->AddNewSourceBuffer(std::move(copy), llvm::SMLoc());
  auto damaged = [&] { return userError("'" + path + "' is damaged; remove it to solve these layers again"); };
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(sources, ParserConfig(context));
  auto function = module ? module->lookupSymbol<func::FuncOp>("stage") : func::FuncOp();
  auto arguments = function ? function->getAttrOfType<DenseI64ArrayAttr>(kArguments) : DenseI64ArrayAttr();
  if (!arguments || arguments.size() != 2 * function.getNumArguments())
    return damaged();
  IRMapping mapping;
  for (auto [i, argument] : llvm::enumerate(function.getArguments())) {
    Operation *layer = getLayer(arguments[2 * static_cast<int64_t>(i)]);
    int64_t operand = arguments[2 * static_cast<int64_t>(i) + 1];
    if (!layer || operand < 0 || operand >= layer->getNumOperands() ||
        layer->getOperand(static_cast<unsigned>(operand)).getType() != argument.getType())
      return damaged();
    mapping.map(argument, layer->getOperand(static_cast<unsigned>(operand)));
  }
  SmallVector<Operation *> replaced;
  for (Operation &op : function.getBody().front().without_terminator()) {
    auto number = op.getAttrOfType<IntegerAttr>(kLayerNumber);
    if (!number)
      continue;
    Operation *layer = getLayer(number.getInt());
    if (!layer || layer->getName() != op.getName())
      return damaged();
    // Where the solver puts them, so that weights keep their order: a constant before the one it replaces.
    auto place = [&](auto &&self, Value value, Operation *before) -> void {
      Operation *source = value.getDefiningOp();
      if (!source || mapping.contains(value))
        return;
      for (Value operand : source->getOperands())
        self(self, operand, before);
      OpBuilder(before).clone(*source, mapping);
    };
    SmallVector<Value> operands;
    for (auto [i, operand] : llvm::enumerate(op.getOperands())) {
      Operation *old = i < layer->getNumOperands() ? layer->getOperand(static_cast<unsigned>(i)).getDefiningOp() : nullptr;
      bool constant = old && old->hasTrait<OpTrait::ConstantLike>();
      place(place, operand, constant ? old : layer);
      operands.push_back(mapping.lookup(operand));
      if (constant && operands.back().getDefiningOp() != old)
        replaced.push_back(old);
    }
    layer->setOperands(operands);
    layer->setAttrs(op.getAttrDictionary());
  }
  llvm::sort(replaced);
  replaced.erase(llvm::unique(replaced), replaced.end());
  for (Operation *op : replaced)
    if (op->use_empty())
      op->erase();
  return llvm::Error::success();
}
