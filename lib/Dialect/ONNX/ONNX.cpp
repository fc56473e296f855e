//===- ONNX.cpp - The onnx dialect --------------------------------------------------------------------------------------===//
#include "quanta/Dialect/ONNX/ONNX.h"
#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace mlir::onnx;

#include "quanta/Dialect/ONNX/ONNXDialect.cpp.inc"

#define GET_OP_CLASSES
#include "quanta/Dialect/ONNX/ONNXOps.cpp.inc"

void ONNXDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "quanta/Dialect/ONNX/ONNXOps.cpp.inc"
      >();
}

unsigned NodeOp::getNumInputs() { return getPresent() ? getPresent()->size() : getNumOperands(); }

Value NodeOp::getInput(unsigned position) {
  auto present = getPresent();
  if (!present)
    return position < getNumOperands() ? getOperand(position) : Value();
  if (position >= present->size() || !(*present)[position])
    return Value();
  return getOperand(llvm::count(present->take_front(position), true));
}

int64_t NodeOp::getInt(StringRef name, int64_t otherwise) {
  auto attr = dyn_cast_or_null<IntegerAttr>(getNodeAttr(name));
  return attr ? attr.getInt() : otherwise;
}
double NodeOp::getFloat(StringRef name, double otherwise) {
  auto attr = dyn_cast_or_null<FloatAttr>(getNodeAttr(name));
  return attr ? attr.getValueAsDouble() : otherwise;
}
StringRef NodeOp::getString(StringRef name, StringRef otherwise) {
  auto attr = dyn_cast_or_null<StringAttr>(getNodeAttr(name));
  return attr ? attr.getValue() : otherwise;
}
SmallVector<int64_t> NodeOp::getInts(StringRef name) {
  auto attr = dyn_cast_or_null<DenseI64ArrayAttr>(getNodeAttr(name));
  return attr ? SmallVector<int64_t>(attr.asArrayRef()) : SmallVector<int64_t>();
}

/// Reading a random source may not be merged or dropped; subgraphs may hold anything.
void NodeOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  bool random = getOpType().starts_with("Random") || getOpType() == "Multinomial" || getOpType() == "Bernoulli";
  if (random) {
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

LogicalResult NodeOp::verify() {
  if (auto present = getPresent())
    if (llvm::count(*present, true) != static_cast<int64_t>(getNumOperands()))
      return emitOpError() << "expected " << llvm::count(*present, true) << " operands as marked present but got "
                           << getNumOperands();
  return success();
}

// onnx.node "Clip"(%x, _, %max) {attributes} attributes {node attributes} : (types) -> types ({regions})
ParseResult NodeOp::parse(OpAsmParser &parser, OperationState &state) {
  Builder &builder = parser.getBuilder();
  StringAttr type;
  if (parser.parseAttribute(type, "op_type", state.attributes))
    return failure();
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<bool> present;
  auto parseInput = [&]() -> ParseResult {
    if (succeeded(parser.parseOptionalKeyword("_"))) {
      present.push_back(false);
      return success();
    }
    present.push_back(true);
    return parser.parseOperand(operands.emplace_back());
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseInput))
    return failure();
  NamedAttrList nodeAttributes;
  if (parser.parseOptionalAttrDict(nodeAttributes))
    return failure();
  state.addAttribute("node_attributes", nodeAttributes.getDictionary(builder.getContext()));
  if (parser.parseOptionalAttrDictWithKeyword(state.attributes))
    return failure();
  FunctionType signature;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseColonType(signature) ||
      parser.resolveOperands(operands, signature.getInputs(), loc, state.operands))
    return failure();
  state.addTypes(signature.getResults());
  if (llvm::is_contained(present, false))
    state.addAttribute("present", builder.getDenseBoolArrayAttr(present));
  if (succeeded(parser.parseOptionalLParen())) {
    do {
      if (parser.parseRegion(*state.addRegion()))
        return failure();
    } while (succeeded(parser.parseOptionalComma()));
    if (parser.parseRParen())
      return failure();
  }
  return success();
}

void NodeOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getOpTypeAttr() << '(';
  llvm::interleaveComma(llvm::seq<unsigned>(0, getNumInputs()), printer, [&](unsigned i) {
    if (Value input = getInput(i))
      printer << input;
    else
      printer << '_';
  });
  printer << ')';
  if (!getNodeAttributes().empty())
    printer << ' ' << getNodeAttributes();
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {"op_type", "node_attributes", "present"});
  printer << " : ";
  printer.printFunctionalType(*this);
  if (getNumRegions()) {
    printer << " (";
    llvm::interleaveComma(getRegions(), printer, [&](Region *region) { printer.printRegion(*region); });
    printer << ')';
  }
}
