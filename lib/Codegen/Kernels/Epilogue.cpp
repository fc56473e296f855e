//===- Epilogue.cpp - What happens to a kernel's sums before they are stored ------------------------------------------------===//
#include "Epilogue.h"
#include "Quantize.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::quanta;

bool mlir::quanta::hasEpilogue(StringRef family, DictionaryAttr config) {
  return family == "conv2d" || storesCodes(family, config) || storesSigns(family);
}

bool mlir::quanta::storesSigns(StringRef family) { return family == "sign_linear" || family == "sign_conv2d"; }

bool mlir::quanta::storesCodes(StringRef family, DictionaryAttr config) {
  if (family == "linear")
    return config.contains("activation") && !isa<NarrowAttr>(config.get("activation"));
  return family == "integer_conv2d" || family == "layer_norm" || family == "rms_norm";
}

Epilogue::Epilogue(KernelBuilder &b, const KernelArgs &args)
    : inputs(args.inputs), b(b), args(args), encoding(dyn_cast_or_null<AffineAttr>(args.config.get("result_encoding"))) {
  if (encoding && encoding.getSegmentCount() > 1) {
    parameters = inputs.take_back(2);
    inputs = inputs.drop_back(2);
  }
  if (args.has("operands")) {
    operands = inputs.take_back(args.getInts("operands").size());
    inputs = inputs.drop_back(operands.size());
  }
  bool encodes = encoding || args.has("result_signs");
  if (!encodes || args.outputs.size() == 2)
    floats = args.outputs.front();
  if (encodes)
    codes = args.outputs.back();
}

Value Epilogue::apply(Value lanes, Load load) const {
  if (!args.epilogue)
    return lanes;
  Block &body = func::FuncOp(args.epilogue).getBody().front();
  IRMapping mapping;
  mapping.map(body.getArgument(0), lanes);
  for (auto [i, operand] : llvm::enumerate(operands))
    mapping.map(body.getArgument(i + 1), load(operand, static_cast<EpilogueOperand>(args.getInts("operands")[i])));
  for (Operation &op : body.without_terminator()) {
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto type = VectorType::get({kLanes}, constant.getType());
      mapping.map(constant.getResult(), arith::ConstantOp::create(b, DenseElementsAttr::get(type, constant.getValue())).getResult());
      continue;
    }
    Operation *wide = b.clone(op, mapping);
    wide->getResult(0).setType(VectorType::get({kLanes}, op.getResult(0).getType()));
  }
  return mapping.lookup(body.getTerminator()->getOperand(0));
}

Value Epilogue::loadPixels(Value operand, EpilogueOperand kind, ValueRange place, Value lanes) const {
  if (kind == EpilogueOperand::Channel)
    return b.splat(b.load(operand, place[1]));
  return b.loadMasked(withPixels(operand), place, lanes, b.tileOf(0.0f));
}

Value Epilogue::withPixels(Value image) const {
  return memref::CollapseShapeOp::create(b, image, ArrayRef<ReassociationIndices>{{0}, {1}, {2, 3}});
}

void Epilogue::prefetchPixels(ValueRange place) const {
  for (auto [i, operand] : llvm::enumerate(operands))
    if (static_cast<EpilogueOperand>(args.getInts("operands")[i]) == EpilogueOperand::Element)
      b.prefetch(withPixels(operand), place);
  if (floats)
    b.prefetch(withPixels(floats), place, /*isWrite=*/true);
}

void Epilogue::applyTo(Value result, ValueRange place, Value lanes) const {
  auto load = [&](Value operand, EpilogueOperand kind) { return loadPixels(operand, kind, place, lanes); };
  b.storeMasked(apply(b.loadMasked(result, place, lanes, b.tileOf(0.0f)), load), result, place, lanes);
}

Value Epilogue::encode(Value lanes, Load load) const {
  bool one = parameters.empty();
  Value inverse = one ? b.tileOf(1 / encoding.getScales()[0]) : load(parameters[0], EpilogueOperand::Channel);
  Value zero = one ? b.tileOf(static_cast<float>(encoding.getZeros()[0])) : load(parameters[1], EpilogueOperand::Channel);
  return emitByte(b, emitAffineCode(b, lanes, inverse, zero, encoding.getBits()));
}

SignLanes Epilogue::signs(Value lanes) const { return getSigns(b, lanes, args.getInt("result_signs")); }

int8_t Epilogue::zeroCode() const { return static_cast<int8_t>(encoding.getZeros()[0]); }
