//===- ChannelEdit.cpp - Does what a plan says, and takes it back ---------------------------------------------------------===//
#include "ChannelEdit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::quanta;

//===- Data ---------------------------------------------------------------------------------------------------------------===//

std::vector<char> mlir::quanta::readConstant(Value constant) {
  Attribute attr;
  if (!matchPattern(constant, m_Constant(&attr)))
    return {};
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? std::vector<char>(blob->getData().begin(), blob->getData().end()) : std::vector<char>();
  }
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (!dense)
    return {};
  ArrayRef<char> raw = dense.getRawData();
  std::vector<char> bytes(raw.begin(), raw.end());
  if (dense.isSplat())
    for (int64_t i = 1; i < dense.getNumElements(); ++i)
      bytes.insert(bytes.end(), raw.begin(), raw.end());
  return bytes;
}

template <typename T> static std::vector<T> reinterpretAs(ArrayRef<char> bytes) {
  std::vector<T> result(bytes.size() / sizeof(T));
  memcpy(result.data(), bytes.data(), result.size() * sizeof(T));
  return result;
}

std::vector<float> mlir::quanta::readFloats(Value constant) { return reinterpretAs<float>(readConstant(constant)); }

template <typename T> static std::vector<char> toBytes(ArrayRef<T> data) {
  const char *begin = reinterpret_cast<const char *>(data.data());
  return std::vector<char>(begin, begin + data.size() * sizeof(T));
}

ElementOffsets::ElementOffsets(ArrayRef<int64_t> shape, ArrayRef<int64_t> axes) : elements{0}, rest{0} {
  int64_t rank = shape.size();
  SmallVector<int64_t> strides(rank, 1);
  for (int64_t axis = rank - 1; axis > 0; --axis)
    strides[axis - 1] = strides[axis] * shape[axis];
  for (int64_t axis = 0; axis < rank; ++axis) {
    std::vector<int64_t> &offsets = llvm::is_contained(axes, axis) ? elements : rest;
    std::vector<int64_t> longer;
    longer.reserve(offsets.size() * shape[axis]);
    for (int64_t offset : offsets)
      for (int64_t i = 0; i < shape[axis]; ++i)
        longer.push_back(offset + i * strides[axis]);
    offsets = std::move(longer);
  }
}

//===- Constants ----------------------------------------------------------------------------------------------------------===//

/// Data of constants that nobody refers to is freed; it would live as long as the context.
static void freeData(Operation *constant) {
  auto arith = dyn_cast<arith::ConstantOp>(constant);
  auto resource = arith ? dyn_cast<DenseResourceElementsAttr>(arith.getValue()) : DenseResourceElementsAttr();
  if (resource)
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      *blob = AsmResourceBlob();
}

Value ChannelEdits::makeConstant(Value like, std::vector<char> bytes) {
  auto type = cast<RankedTensorType>(like.getType());
  Operation *old = like.getDefiningOp();
  OpBuilder builder(old);
  TypedAttr attr;
  if (bytes.size() <= 64) {
    attr = DenseElementsAttr::getFromRawBuffer(type, bytes);
  } else {
    std::string key = getNodeName(like.getLoc());
    if (auto arith = dyn_cast<arith::ConstantOp>(old))
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(arith.getValue()))
        key = resource.getRawHandle().getKey().str();
    attr = DenseResourceElementsAttr::get(type, key.empty() ? "constant" : key,
                                          HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, 64));
  }
  Operation *op = arith::ConstantOp::create(builder, like.getLoc(), attr);
  onUndo([op] {
    freeData(op);
    op->erase();
  });
  return op->getResult(0);
}

Value ChannelEdits::makeConstant(Value like, ArrayRef<float> data) { return makeConstant(like, toBytes(data)); }

void ChannelEdits::setOperand(OpOperand &use, Value value) {
  Operation *op = use.getOwner();
  unsigned number = use.getOperandNumber();
  Value old = use.get();
  use.set(value);
  onUndo([=] { op->setOperand(number, old); });
}

void ChannelEdits::replace(Operation *old, Operation *replacement) {
  SmallVector<std::pair<Operation *, unsigned>> uses;
  for (OpOperand &use : old->getUses())
    uses.push_back({use.getOwner(), use.getOperandNumber()});
  old->replaceAllUsesWith(replacement);
  // Out of the way: plans made from now on must not meet it.
  SmallVector<Value> operands = llvm::to_vector(old->getOperands());
  old->remove();
  old->setOperands({});
  replaced.push_back(old);
  onUndo([this, old, replacement, uses, operands] {
    old->setOperands(operands);
    replacement->getBlock()->getOperations().insert(Block::iterator(replacement), old);
    for (auto [op, number] : uses)
      op->setOperand(number, old->getResult(0));
    replaced.erase(llvm::find(replaced, old));
    replacement->erase();
  });
}

/// Calls `rewrite` for each constant. Readers of one constant whose maps agree share the new one, so ties stay tied.
void ChannelEdits::rewriteAll(const ChannelPlan &plan, const Rewrite &rewrite) {
  struct Done {
    Value old;
    const ChannelMap *map;
    Value constant;
  };
  SmallVector<Done> done;
  for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
    if (absorber.role != ChannelPlan::Absorber::Same)
      continue;
    Value old = absorber.use->get();
    auto *same = llvm::find_if(done, [&](const Done &d) {
      return d.old == old && d.map->axes == absorber.map.axes && d.map->channels == absorber.map.channels &&
             d.map->inverse == absorber.map.inverse;
    });
    if (same == done.end()) {
      std::vector<char> bytes = readConstant(old);
      rewrite(absorber.map, bytes, cast<RankedTensorType>(old.getType()));
      done.push_back({old, &absorber.map, makeConstant(old, std::move(bytes))});
      same = std::prev(done.end());
    }
    setOperand(*absorber.use, same->constant);
  }
}

//===- Transforms ---------------------------------------------------------------------------------------------------------===//

void ChannelEdits::permute(const ChannelPlan &plan, ArrayRef<int32_t> order) {
  rewriteAll(plan, [&](const ChannelMap &map, std::vector<char> &bytes, RankedTensorType type) {
    ElementOffsets at(type.getShape(), map.axes);
    std::vector<int64_t> lifted = liftOrder(map, order);
    size_t width = type.getElementTypeBitWidth() / 8;
    std::vector<char> old = bytes;
    for (size_t e = 0; e < lifted.size(); ++e)
      if (lifted[e] != static_cast<int64_t>(e))
        for (int64_t rest : at.rest)
          memcpy(&bytes[(at.elements[e] + rest) * width], &old[(at.elements[lifted[e]] + rest) * width], width);
  });
}

/// With a function of (element of the map, f32 element).
template <typename Fn>
static void mapFloats(const ChannelMap &map, std::vector<char> &bytes, RankedTensorType type, Fn fn) {
  ElementOffsets at(type.getShape(), map.axes);
  std::vector<float> data = reinterpretAs<float>(bytes);
  for (size_t e = 0; e < at.elements.size(); ++e)
    if (map.channels[e] >= 0)
      for (int64_t rest : at.rest)
        data[at.elements[e] + rest] = static_cast<float>(fn(e, static_cast<double>(data[at.elements[e] + rest])));
  bytes = toBytes<float>(data);
}

void ChannelEdits::scale(const ChannelPlan &plan, ArrayRef<double> factors, ArrayRef<double> inverses) {
  rewriteAll(plan, [&](const ChannelMap &map, std::vector<char> &bytes, RankedTensorType type) {
    mapFloats(map, bytes, type, [&](size_t e, double x) {
      return x * (!map.inverse.empty() && map.inverse[e] ? inverses : factors)[map.channels[e]];
    });
  });
}

void ChannelEdits::shift(const ChannelPlan &plan, ArrayRef<double> offsets) {
  rewriteAll(plan, [&](const ChannelMap &map, std::vector<char> &bytes, RankedTensorType type) {
    mapFloats(map, bytes, type, [&](size_t e, double x) { return x + offsets[map.channels[e]]; });
  });
  for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
    if (absorber.role != ChannelPlan::Absorber::BiasOfShift)
      continue;
    // W·(x + z) + b − W·z
    auto type = cast<RankedTensorType>(absorber.use->get().getType());
    std::vector<float> weight = readFloats(absorber.use->get());
    ElementOffsets at(type.getShape(), absorber.map.axes);
    int64_t row = type.getNumElements() / type.getDimSize(0);
    std::vector<double> addition(type.getDimSize(0));
    for (size_t e = 0; e < at.elements.size(); ++e)
      if (absorber.map.channels[e] >= 0)
        for (int64_t rest : at.rest)
          addition[(at.elements[e] + rest) / row] -= weight[at.elements[e] + rest] * offsets[absorber.map.channels[e]];
    addToBias(absorber.use->getOwner(), addition);
  }
  for (const ChannelPlan::Carrier &missing : plan.missingBiases) {
    std::vector<double> addition;
    for (int32_t channel : missing.map.channels)
      addition.push_back(channel < 0 ? 0 : offsets[channel]);
    addToBias(missing.value.getDefiningOp(), addition);
  }
}

void ChannelEdits::addToBias(Operation *op, ArrayRef<double> addition) {
  MutableOperandRange bias =
      llvm::TypeSwitch<Operation *, MutableOperandRange>(op).Case<LinearOp, Conv2DOp, LayerNormOp>(
          [](auto layer) { return layer.getBiasMutable(); });
  std::vector<float> values(addition.begin(), addition.end());
  if (!bias.empty()) {
    std::vector<float> old = readFloats(bias[0].get());
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(old[i] + addition[i]);
    return setOperand(bias[0], makeConstant(bias[0].get(), values));
  }
  OpBuilder builder(op);
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, builder.getF32Type());
  auto like = arith::ConstantOp::create(builder, op->getLoc(), DenseElementsAttr::get(type, 0.0f));
  bias.append(makeConstant(like, values));
  like.erase();
  onUndo([op] { op->eraseOperand(op->getNumOperands() - 1); });
}

void ChannelEdits::transform(const ChannelPlan &plan, function_ref<void(size_t, MutableArrayRef<double>)> transform) {
  rewriteAll(plan, [&](const ChannelMap &map, std::vector<char> &bytes, RankedTensorType type) {
    ElementOffsets at(type.getShape(), map.axes);
    std::vector<float> data = reinterpretAs<float>(bytes);
    std::vector<double> vector;
    for (auto [group, vectors] : llvm::enumerate(liftGroups(map, plan)))
      for (const std::vector<int64_t> &elements : vectors)
        for (int64_t rest : at.rest) {
          vector.clear();
          for (int64_t e : elements)
            vector.push_back(data[at.elements[e] + rest]);
          transform(group, vector);
          for (auto [e, x] : llvm::zip_equal(elements, vector))
            data[at.elements[e] + rest] = static_cast<float>(x);
        }
    bytes = toBytes<float>(data);
  });
}

//===- Taking back --------------------------------------------------------------------------------------------------------===//

void ChannelEdits::undo(size_t mark) {
  while (undos.size() > mark) {
    auto last = std::move(undos.back());
    undos.pop_back();
    last();
  }
}

void ChannelEdits::commit(ModuleOp module) {
  undos.clear();
  for (Operation *op : replaced)
    op->destroy();
  replaced.clear();
  SmallVector<Operation *> dead;
  module.walk([&](arith::ConstantOp op) {
    if (op->use_empty())
      dead.push_back(op);
  });
  DenseSet<Attribute> used;
  module.walk([&](arith::ConstantOp op) {
    if (!op->use_empty())
      used.insert(op.getValue());
  });
  for (Operation *op : dead) {
    if (!used.contains(cast<arith::ConstantOp>(op).getValue()))
      freeData(op);
    op->erase();
  }
}
