//===- QuantizeWeights.cpp - Constant weights become encoded constants ------------------------------------------------------===//
//
// Which layers, which solver, and what the IR looks like afterwards; the numbers come from lib/Solver.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Solver/Rtn.h"
#include "quanta/Support/Half.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/Regex.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// True for ops that move or rescale elements without mixing channels through weights.
bool isTransparent(Operation *op) {
  if (isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::CastOp, tensor::ExtractSliceOp, tensor::ReshapeOp, SoftmaxOp,
          ActivationOp, linalg::TransposeOp>(op))
    return true;
  auto generic = dyn_cast<linalg::GenericOp>(op);
  return generic && generic.getNumReductionLoops() == 0;
}

/// Linear layers that reach the model's first output through transparent ops only: the output head.
DenseSet<Operation *> findHead(func::FuncOp function) {
  DenseSet<Operation *> head, seen;
  if (function.isExternal())
    return head;
  auto ret = dyn_cast<func::ReturnOp>(function.getBody().front().getTerminator());
  SmallVector<Value> worklist;
  if (ret && ret.getNumOperands())
    worklist.push_back(ret.getOperand(0));
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (!op || !seen.insert(op).second)
      continue;
    if (isa<LinearOp>(op))
      head.insert(op);
    else if (isTransparent(op))
      llvm::append_range(worklist, op->getOperands());
  }
  return head;
}

/// A constant's elements as f32 in place.
std::optional<ArrayRef<float>> getFloats(Attribute attr, SmallVectorImpl<float> &storage) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return std::nullopt;
    ArrayRef<char> data = blob->getData();
    // Blobs of a file may lie at any address.
    if (reinterpret_cast<uintptr_t>(data.data()) % alignof(float) == 0)
      return ArrayRef(reinterpret_cast<const float *>(data.data()), data.size() / sizeof(float));
    storage.resize(data.size() / sizeof(float));
    memcpy(storage.data(), data.data(), storage.size() * sizeof(float));
    return ArrayRef<float>(storage);
  }
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense)
    return std::nullopt;
  storage.assign(dense.value_begin<float>(), dense.value_end<float>());
  return ArrayRef<float>(storage);
}

template <typename T> DenseResourceElementsAttr makeResource(StringRef key, RankedTensorType type, ArrayRef<T> data) {
  return DenseResourceElementsAttr::get(type, key, HeapAsmResourceBlob::allocateAndCopyWithAlign(ArrayRef<char>(reinterpret_cast<const char *>(data.data()), data.size() * sizeof(T)), 64));
}

struct QuantizeWeights : public mlir::quanta::impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    if (method != "rtn") {
      getOperation().emitError() << "expected method 'rtn' but got '" << StringRef(method) << "'";
      return signalPassFailure();
    }
    if (bits < 1 || bits > 8 || group < -1) {
      getOperation().emitError() << "expected 1 to 8 bits and a group of -1, 0 or more but got " << unsigned(bits) << " and " << int64_t(group);
      return signalPassFailure();
    }
    llvm::Regex onlyPattern(only), keepPattern(keep);
    for (auto [option, text, pattern] : {std::tuple("only", &only, &onlyPattern), std::tuple("keep", &keep, &keepPattern)}) {
      std::string error; // an empty pattern is not valid, and selects nothing
      if (!text->empty() && !pattern->isValid(error)) {
        getOperation().emitError() << "option '" << option << "' is not a regular expression: " << error;
        return signalPassFailure();
      }
    }
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      DenseSet<Operation *> outputHead = findHead(function);
      WalkResult result = function.walk([&](Operation *op) -> WalkResult {
        if (!isa<LinearOp, Conv2DOp>(op))
          return WalkResult::advance();
        Value weight = op->getOperand(1);
        std::string name = getNodeName(op->getLoc()), weightName = getNodeName(weight.getLoc());
        auto matches = [&](llvm::Regex &pattern) { return pattern.match(name) || pattern.match(weightName); };
        if (getEncoding(weight.getType()))
          return WalkResult::advance();
        if (!matchPattern(weight, m_Constant()))
          return leave(op, "its weight is not a constant");
        if (!keep.empty() && matches(keepPattern))
          return leave(op, "kept by request");
        if (!only.empty() && !matches(onlyPattern))
          return leave(op, "not selected");
        if (!head && outputHead.contains(op))
          return leave(op, "output head");
        return failed(quantize(op, weight, weightName.empty() ? name : weightName)) ? WalkResult::interrupt() : WalkResult::advance();
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
    releaseUnused();
  }

  WalkResult leave(Operation *op, StringRef reason) {
    op->setAttr("quanta.note", StringAttr::get(&getContext(), ("in float: " + reason).str()));
    return WalkResult::advance();
  }

  LogicalResult quantize(Operation *op, Value weight, StringRef name) {
    auto type = cast<RankedTensorType>(weight.getType());
    Operation *constant = weight.getDefiningOp();
    // A weight that several layers share is encoded once.
    if (Value done = encoded.lookup(constant)) {
      op->setOperand(1, done);
      return success();
    }
    Attribute attr;
    SmallVector<float> storage;
    std::optional<ArrayRef<float>> values;
    if (type.getElementType().isF32() && matchPattern(weight, m_Constant(&attr)))
      values = getFloats(attr, storage);
    if (!values || static_cast<int64_t>(values->size()) != type.getNumElements())
      return op->emitOpError() << "expected a constant f32 weight but got " << type;

    auto [rows, columns] = getMatrixShape(type.getShape());
    ::quanta::UniformOptions options;
    options.bits = bits;
    options.group = group;
    options.zero = zero == ZeroKind::Symmetric ? ::quanta::UniformZero::Symmetric
                   : zero == ZeroKind::Point   ? ::quanta::UniformZero::Point
                                               : ::quanta::UniformZero::Offset;
    ::quanta::MatrixView matrix(values->data(), rows, columns);
    ::quanta::UniformResult result = ::quanta::quantizeRtn(matrix, options);
    if (result.needsF32Scale) {
      options.halfScale = false;
      result = ::quanta::quantizeRtn(matrix, options);
    }
    if (result.nonFinite)
      return op->emitOpError() << "weight '" << name << "' holds an infinity or NaN; keep it in float (keep=REGEX) or mend the model";

    MLIRContext *context = &getContext();
    Type scaleType = options.halfScale ? Type(Float16Type::get(context)) : Type(Float32Type::get(context));
    auto encoding = UniformAttr::get(context, bits, group, zero, scaleType);
    auto encodedType = RankedTensorType::get(type.getShape(), type.getElementType(), encoding);
    NamedAttrList components;
    for (const Component &component : encoding.getComponents(type.getShape())) {
      auto componentType = RankedTensorType::get(component.shape, component.elementType);
      std::string key = (name + "." + component.name).str();
      components.set(component.name, component.name == "codes"    ? makeResource<uint8_t>(key, componentType, result.codes)
                                     : component.name == "zeros"  ? makeResource<uint8_t>(key, componentType, result.zeros)
                                     : component.name == "scales" ? makeScales(key, componentType, result.scales)
                                                                  : makeScales(key, componentType, result.offsets));
    }
    OpBuilder builder(constant);
    Value replacement = ConstantOp::create(builder, weight.getLoc(), encodedType, components.getDictionary(context));
    encoded[constant] = replacement;
    op->setOperand(1, replacement);
    op->setAttr("quanta.weight_error", builder.getF64FloatAttr(result.error));
    if (!options.halfScale)
      op->setAttr("quanta.note", builder.getStringAttr("scales in f32: they do not fit f16"));
    return success();
  }

  DenseResourceElementsAttr makeScales(StringRef key, RankedTensorType type, ArrayRef<float> scales) {
    if (type.getElementType().isF32())
      return makeResource<float>(key, type, scales);
    SmallVector<uint16_t> half;
    for (float scale : scales)
      half.push_back(::quanta::floatToHalf(scale));
    return makeResource<uint16_t>(key, type, half);
  }

  /// Blobs live as long as the context; drop the floats that no constant holds any more.
  void releaseUnused() {
    DenseSet<StringRef> used;
    SmallVector<Operation *> dead;
    DenseMap<Operation *, Value> replaced = std::move(encoded);
    for (auto &[constant, value] : replaced)
      if (constant->use_empty())
        dead.push_back(constant);
    SmallVector<DenseResourceElementsAttr> candidates;
    for (Operation *constant : dead)
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(cast<arith::ConstantOp>(constant).getValue()))
        candidates.push_back(resource);
    for (Operation *constant : dead)
      constant->erase();
    getOperation().walk([&](arith::ConstantOp op) {
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(op.getValue()))
        used.insert(resource.getRawHandle().getKey());
    });
    for (DenseResourceElementsAttr resource : candidates)
      if (!used.contains(resource.getRawHandle().getKey()))
        if (auto *blob = resource.getRawHandle().getBlob())
          *blob = AsmResourceBlob();
  }

  DenseMap<Operation *, Value> encoded;
};

} // namespace
