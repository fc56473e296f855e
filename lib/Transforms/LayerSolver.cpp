//===- LayerSolver.cpp - What all passes that encode weights share --------------------------------------------------------===//
#include "LayerSolver.h"
#include "quanta/Support/Half.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include <chrono>
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;

std::optional<ArrayRef<float>> mlir::quanta::getFloats(Attribute attr, SmallVectorImpl<float> &storage) {
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

/// The weight of a layer as a matrix; `storage` holds its elements if they are not in memory as such.
static FailureOr<SolverLayer> readLayer(Operation *op, SmallVectorImpl<float> &storage) {
  Value weight = op->getOperand(1);
  SolverLayer layer;
  layer.op = op;
  layer.type = cast<RankedTensorType>(weight.getType());
  layer.name = getNodeName(weight.getLoc());
  if (layer.name.empty())
    layer.name = getNodeName(op->getLoc());
  if (auto convolution = dyn_cast<Conv2DOp>(op))
    layer.blocks = convolution.getGroups();

  Attribute attr;
  std::optional<ArrayRef<float>> values;
  if (layer.type.getElementType().isF32() && matchPattern(weight, m_Constant(&attr)))
    values = getFloats(attr, storage);
  if (!values || static_cast<int64_t>(values->size()) != layer.type.getNumElements())
    return op->emitOpError() << "expected a constant f32 weight but got " << layer.type;
  if (!llvm::all_of(*values, [](float value) { return std::isfinite(value); }))
    return op->emitOpError() << "weight '" << layer.name
                             << "' holds an infinity or NaN; keep it in float (keep=REGEX) or mend the model";
  auto [rows, columns] = getMatrixShape(layer.type.getShape());
  layer.weights = ::quanta::MatrixView(values->data(), rows, columns);
  return layer;
}

template <typename T>
static DenseResourceElementsAttr makeResource(StringRef key, RankedTensorType type, ArrayRef<T> data) {
  assert(static_cast<int64_t>(data.size()) == type.getNumElements());
  ArrayRef<char> bytes(reinterpret_cast<const char *>(data.data()), data.size() * sizeof(T));
  return DenseResourceElementsAttr::get(type, key, HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64));
}

static DenseResourceElementsAttr makeComponent(StringRef key, const Component &component, const EncodedWeight &weight) {
  auto type = RankedTensorType::get(component.shape, component.elementType);
  if (component.elementType.isInteger(8))
    return makeResource<uint8_t>(key, type, weight.integers.find(component.name)->second);
  const std::vector<float> &values = weight.floats.find(component.name)->second;
  if (component.elementType.isF32())
    return makeResource<float>(key, type, values);
  SmallVector<uint16_t> half;
  for (float value : values)
    half.push_back(::quanta::floatToHalf(value));
  return makeResource<uint16_t>(key, type, half);
}

Value mlir::quanta::createEncodedConstant(Value constant, StringRef name, const EncodedWeight &weight) {
  auto from = cast<RankedTensorType>(constant.getType());
  NamedAttrList components;
  for (const Component &component : weight.encoding.getComponents(from.getShape()))
    components.set(component.name, makeComponent((name + "." + component.name).str(), component, weight));
  OpBuilder at(constant.getDefiningOp());
  auto type = RankedTensorType::get(from.getShape(), from.getElementType(), weight.encoding);
  return ConstantOp::create(at, constant.getLoc(), type, components.getDictionary(at.getContext()));
}

void mlir::quanta::eraseUnusedConstants(ModuleOp module, ArrayRef<Operation *> constants) {
  SmallVector<DenseResourceElementsAttr> candidates;
  for (Operation *constant : constants) {
    if (!constant->use_empty())
      continue;
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(cast<arith::ConstantOp>(constant).getValue()))
      candidates.push_back(resource);
    constant->erase();
  }
  DenseSet<StringRef> used;
  module.walk([&](arith::ConstantOp op) {
    if (auto resource = dyn_cast<DenseResourceElementsAttr>(op.getValue()))
      used.insert(resource.getRawHandle().getKey());
  });
  for (DenseResourceElementsAttr resource : candidates)
    if (!used.contains(resource.getRawHandle().getKey()))
      if (auto *blob = resource.getRawHandle().getBlob())
        *blob = AsmResourceBlob();
}

static bool isSelected(Operation *op) {
  return isa<LinearOp, Conv2DOp>(op) && op->hasAttr("quanta.selected") && !getEncoding(op->getOperand(1).getType());
}

namespace {
class LayerEncoder {
public:
  LayerEncoder(ModuleOp module, function_ref<FailureOr<EncodedWeight>(const SolverLayer &)> solve)
      : module(module), builder(module.getContext()), solve(solve) {}

  LogicalResult encode(const SolverLayer &layer) {
    Value weight = layer.op->getOperand(1), replacement;
    if (failed(solveLayer(layer, weight, replacement)))
      return failure();
    constants.push_back(weight.getDefiningOp());
    for (Operation *user : llvm::to_vector(weight.getUsers()))
      if (isSelected(user) && user->getOperand(1) == weight) {
        user->setOperand(1, replacement);
        user->removeAttr("quanta.selected");
        user->removeAttr("quanta.mask");
      }
    return success();
  }

  void releaseUnused() { eraseUnusedConstants(module, constants); }

private:
  LogicalResult solveLayer(const SolverLayer &layer, Value weight, Value &replacement) {
    auto begin = std::chrono::steady_clock::now();
    FailureOr<EncodedWeight> result = solve(layer);
    if (failed(result))
      return failure();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

    replacement = createEncodedConstant(weight, layer.name, *result);
    annotate(layer.op, *result, seconds);
    return success();
  }

  void annotate(Operation *op, const EncodedWeight &result, double seconds) {
    auto set = [&](StringRef name, std::optional<double> value) {
      if (value)
        op->setAttr(name, builder.getF64FloatAttr(*value));
    };
    set("quanta.weight_error", result.weightError);
    set("quanta.error_calibration", result.errorCalibration);
    set("quanta.error_held_out", result.errorHeldOut);
    if (result.errorCalibration)
      set("quanta.seconds", seconds);
    if (!result.note.empty())
      op->setAttr("quanta.note", builder.getStringAttr(result.note));
    if (!result.remark.empty())
      op->emitRemark() << result.remark;
  }

  ModuleOp module;
  Builder builder;
  function_ref<FailureOr<EncodedWeight>(const SolverLayer &)> solve;
  SmallVector<Operation *> constants; ///< whose weights are encoded
};
} // namespace

void EncodedWeight::addNote(const Twine &text) {
  for (std::string *to : {&note, &remark}) {
    if (!to->empty())
      *to += "; ";
    *to += text.str();
  }
}

UniformAttr mlir::quanta::getUniformEncoding(const ::quanta::UniformOptions &options, MLIRContext *context) {
  static_assert(int(ZeroKind::Symmetric) == int(::quanta::UniformZero::Symmetric) &&
                int(ZeroKind::Point) == int(::quanta::UniformZero::Point) &&
                int(ZeroKind::Offset) == int(::quanta::UniformZero::Offset));
  Type scaleType = options.halfScale ? Type(Float16Type::get(context)) : Type(Float32Type::get(context));
  return UniformAttr::get(context, options.bits, options.group, static_cast<ZeroKind>(options.zero), scaleType, options.levels,
                          options.multiples);
}

void mlir::quanta::encodeUniform(const ::quanta::UniformResult &result, MLIRContext *context, EncodedWeight &weight) {
  weight.encoding = getUniformEncoding(result.options, context);
  weight.integers = {{"codes", result.codes}, {"zeros", result.zeros}, {"multiples", result.multiples}};
  weight.floats = {{"scales", result.scales}, {"offsets", result.offsets}};
}

DenseResourceElementsAttr mlir::quanta::makeByteResource(StringRef key, RankedTensorType type, ArrayRef<uint8_t> data) {
  return makeResource<uint8_t>(key, type, data);
}

DenseResourceElementsAttr mlir::quanta::makeFloatResource(StringRef key, RankedTensorType type, ArrayRef<float> data) {
  return makeResource<float>(key, type, data);
}

LogicalResult mlir::quanta::visitSelectedLayers(ModuleOp module, bool calibrated,
                                                function_ref<LogicalResult(const SolverLayer &)> visit) {
  WalkResult result = module.walk([&](Operation *op) {
    // A visit may have dealt with a later layer, too.
    if (!isSelected(op) || (calibrated && !op->hasAttr("quanta.statistics")))
      return WalkResult::advance();
    SmallVector<float> storage;
    FailureOr<SolverLayer> layer = readLayer(op, storage);
    return failed(layer) || failed(visit(*layer)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

LogicalResult mlir::quanta::encodeSelectedLayers(ModuleOp module, bool calibrated,
                                                 function_ref<FailureOr<EncodedWeight>(const SolverLayer &)> solve) {
  LayerEncoder encoder(module, solve);
  if (failed(visitSelectedLayers(module, calibrated, [&](const SolverLayer &layer) { return encoder.encode(layer); })))
    return failure();
  encoder.releaseUnused();
  return success();
}
