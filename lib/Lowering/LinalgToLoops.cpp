//===- LinalgToLoops.cpp - Loops with explicit vectors for linalg on buffers -------------------------------------===//
//
// One linalg op becomes: (parallel tasks) x (loops over parallel dimensions) x (one loop over vectors of the dimension
// that makes most accesses contiguous) x (reduction loops). The body is cloned once with vectors and once for the tail.
// Values that do not depend on the vector dimension stay scalars until a vector op needs them.
//
//===-------------------------------------------------------------------------------------------------------------===//
#include "LoopPlan.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/IR/IRMapping.h"
#include "quanta/Lowering/Passes.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_LINALGTOLOOPS
#include "quanta/Lowering/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// Element-operations that make a task worth handing to another thread (some 5 us).
constexpr int64_t kTaskWork = 32768;

/// A value in the cloned body: one scalar for all lanes, `value + lane`, or a vector.
struct Lane {
  enum Kind { Uniform, Linear, Vector } kind = Uniform;
  Value value;
};

/// Makes the loops of a plan and erases the op.
class LoopEmitter : LoopPlan {
public:
  LoopEmitter(linalg::GenericOp op, int64_t vectorBits) : LoopPlan(op, vectorBits), hoisted(operands.size()) {}

  void run() {
    emit();
    op.erase();
  }

private:
  using LoopBody = function_ref<SmallVector<Value>(ValueRange)>;
  SmallVector<Value> forLoop(unsigned dim, Value lo, Value hi, int64_t step, ValueRange inits, LoopBody body);
  SmallVector<Value> forDims(ArrayRef<unsigned> dims, ValueRange inits, LoopBody body);
  void emit();
  void emitRows(ArrayRef<unsigned> dims, Value lo, Value hi);
  void emitVectorDim(Value lo, Value hi);
  void emitPoint();
  void emitElement();
  void emitReductionLanes();
  SmallVector<Lane> emitBody(ValueRange carried);
  Lane emitOp(Operation *bodyOp, IRMapping &scalars, DenseMap<Value, Lane> &lanes);
  Lane load(unsigned operand);
  Lane gather(MemRefType type, Value memref, ValueRange base, Value offsets);
  Lane loadVector(MemRefType type, Value memref, ValueRange indices);
  Lane loadEverySecond(MemRefType type, Value memref, ValueRange indices);
  void store(unsigned operand, Lane lane);
  SmallVector<Value> indices(const LoopOperand &operand);
  VectorType vectorType(Type element) const { return VectorType::get({lanes}, element); }
  Value toVector(Lane lane);
  Value step();
  Value strideValue(const LoopOperand &operand, unsigned dim);
  void hoistLoads(ArrayRef<unsigned> unbound);

  SmallVector<Value> iv;      ///< current index of each dimension
  SmallVector<Value> hoisted; ///< loaded inputs that no enclosed loop changes
  bool vectors = false;       ///< whether lanes are being emitted rather than one scalar
  Value mask, tail;           ///< of the tail; how many lanes it has
};
} // namespace

//===- Loops -----------------------------------------------------------------------------------------------------===//

SmallVector<Value> LoopEmitter::forLoop(unsigned dim, Value lo, Value hi, int64_t step, ValueRange inits, LoopBody body) {
  auto constLo = getConstantIntValue(lo), constHi = getConstantIntValue(hi);
  if (constLo && constHi && *constHi - *constLo == step) {
    iv[dim] = lo;
    return body(inits);
  }
  if (constLo && constHi && *constHi <= *constLo)
    return inits;
  OpBuilder::InsertionGuard guard(b);
  auto loop = scf::ForOp::create(b, loc, lo, hi, index(step), inits);
  b.setInsertionPointToStart(loop.getBody());
  iv[dim] = loop.getInductionVar();
  SmallVector<Value> results = body(loop.getRegionIterArgs());
  if (!inits.empty())
    scf::YieldOp::create(b, loc, results);
  return loop.getResults();
}

SmallVector<Value> LoopEmitter::forDims(ArrayRef<unsigned> dims, ValueRange inits, LoopBody body) {
  if (dims.empty())
    return body(inits);
  return forLoop(dims[0], index(0), extentValue[dims[0]], 1, inits,
                 [&](ValueRange args) { return forDims(dims.drop_front(), args, body); });
}

void LoopEmitter::emit() {
  SmallVector<unsigned> outer;
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (!reduction[dim] && static_cast<int>(dim) != vectorDim && static_cast<int>(dim) != innerDim && extent[dim] != 1)
      outer.push_back(dim);
  Value zero = index(0);
  iv.assign(numDims, zero);
  bool laneTasks = vectorDim >= 0 && !reduction[vectorDim];
  Value vectorEnd = vectorDim >= 0 ? extentValue[vectorDim] : Value();

  double total = pointWork;
  for (int64_t size : extent)
    total = ShapedType::isDynamic(size) ? std::numeric_limits<double>::infinity() : total * size;
  bool serial = effects || total < 2 * kTaskWork || op->getParentOfType<scf::ParallelOp>();

  // A task is a range of rows, a row being one combination of the first dimensions, or else a range of the vector
  // dimension.
  SmallVector<unsigned> rowDims;
  double rows = 1;
  if (!serial)
    for (unsigned dim : outer) {
      bool last = dim == outer.back();
      if (rows >= 256 || (last && vectorDim < 0 && !rowDims.empty()))
        break;
      rowDims.push_back(dim);
      rows = ShapedType::isDynamic(extent[dim]) ? rows * 2 : rows * extent[dim];
    }
  bool staticRows = llvm::none_of(rowDims, [&](unsigned d) { return ShapedType::isDynamic(extent[d]); });
  if (laneTasks && staticRows && rows <= 4)
    rowDims.clear();
  if (serial || (rowDims.empty() && !laneTasks))
    return emitRows(outer, zero, vectorEnd);

  auto isRow = [&](unsigned dim) { return llvm::is_contained(rowDims, dim); };
  ArrayRef<unsigned> inner = ArrayRef(outer).drop_front(rowDims.size());
  Value perUnit = index(std::max<int64_t>(1, pointWork)), units = index(1);
  if (rowDims.empty())
    units = vectorEnd;
  for (unsigned dim = 0; dim < numDims; ++dim) {
    if (isRow(dim))
      units = make<arith::MulIOp>(units, extentValue[dim]);
    else if (!rowDims.empty() || static_cast<int>(dim) != vectorDim)
      perUnit = make<arith::MulIOp>(perUnit, extentValue[dim]);
  }
  perUnit = make<arith::MaxUIOp>(perUnit, index(1));
  Value chunk = make<arith::CeilDivUIOp>(index(kTaskWork), perUnit);
  if (rowDims.empty())
    chunk = make<arith::MulIOp>(make<arith::CeilDivUIOp>(chunk, index(lanes)), index(lanes));
  Value tasks = make<arith::CeilDivUIOp>(units, chunk);
  auto parallel = scf::ParallelOp::create(b, loc, zero, tasks, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(parallel.getBody());
  Value lo = make<arith::MulIOp>(parallel.getInductionVars()[0], chunk);
  Value hi = make<arith::MinUIOp>(make<arith::AddIOp>(lo, chunk), units);
  if (rowDims.empty())
    return emitRows(inner, lo, hi);
  forLoop(rowDims[0], lo, hi, 1, {}, [&](ValueRange) {
    Value rest = iv[rowDims[0]];
    for (unsigned dim : llvm::reverse(ArrayRef(rowDims).drop_front())) {
      iv[dim] = make<arith::RemUIOp>(rest, extentValue[dim]);
      rest = make<arith::DivUIOp>(rest, extentValue[dim]);
    }
    iv[rowDims[0]] = rest;
    emitRows(inner, index(0), vectorEnd);
    return SmallVector<Value>();
  });
}

void LoopEmitter::emitRows(ArrayRef<unsigned> dims, Value lo, Value hi) {
  forDims(dims, {}, [&](ValueRange) {
    if (vectorDim < 0)
      emitPoint();
    else if (reduction[vectorDim])
      emitReductionLanes();
    else
      emitVectorDim(lo, hi);
    return SmallVector<Value>();
  });
}

/// Loads the inputs that no loop over `unbound` changes.
void LoopEmitter::hoistLoads(ArrayRef<unsigned> unbound) {
  for (unsigned i = 0; i < numInputs; ++i)
    if (operands[i].type && !operands[i].arg.use_empty() &&
        llvm::none_of(unbound, [&](unsigned dim) { return operands[i].map.isFunctionOfDim(dim); }))
      hoisted[i] = memref::LoadOp::create(b, loc, operands[i].value, indices(operands[i]));
}

void LoopEmitter::emitVectorDim(Value lo, Value hi) {
  SmallVector<unsigned> unbound{static_cast<unsigned>(vectorDim)};
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (reduction[dim] || static_cast<int>(dim) == innerDim)
      unbound.push_back(dim);
  hoistLoads(unbound);
  Value length = make<arith::SubIOp>(hi, lo);
  Value rest = make<arith::RemUIOp>(length, index(lanes));
  Value split = make<arith::SubIOp>(hi, rest);
  auto body = [&](ValueRange) {
    emitPoint();
    return SmallVector<Value>();
  };
  vectors = true;
  forLoop(vectorDim, lo, split, lanes, {}, body);
  if (!matchPattern(rest, m_Zero())) {
    if (scalarTail) {
      vectors = false;
      forLoop(vectorDim, split, hi, 1, {}, body);
    } else {
      OpBuilder::InsertionGuard guard(b);
      if (!getConstantIntValue(rest)) {
        Value any = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, rest, index(0));
        b.setInsertionPointToStart(scf::IfOp::create(b, loc, any, /*withElseRegion=*/false).thenBlock());
      }
      mask = vector::CreateMaskOp::create(b, loc, vectorType(b.getI1Type()), rest), tail = rest;
      iv[vectorDim] = split;
      emitPoint();
      mask = tail = {};
    }
  }
  vectors = false;
  hoisted.assign(operands.size(), Value());
}

void LoopEmitter::emitPoint() {
  if (innerDim < 0)
    return emitElement();
  Value lo = index(0), hi = innerExtent;
  if (tileDim >= 0) {
    lo = make<arith::MulIOp>(iv[tileDim], index(kTransposeTile));
    hi = make<arith::MinUIOp>(make<arith::AddIOp>(lo, index(kTransposeTile)), innerExtent);
  }
  forLoop(innerDim, lo, hi, 1, {}, [&](ValueRange) {
    emitElement();
    return SmallVector<Value>();
  });
}

/// One element, or one vector of elements, of the outputs.
void LoopEmitter::emitElement() {
  SmallVector<unsigned> reductionDims;
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (reduction[dim])
      reductionDims.push_back(dim);
  auto storeAll = [&](ArrayRef<Lane> results) {
    for (auto [i, lane] : llvm::enumerate(results))
      store(numInputs + i, lane);
  };
  if (!carries) {
    forDims(reductionDims, {}, [&](ValueRange) {
      storeAll(emitBody({}));
      return SmallVector<Value>();
    });
    return;
  }
  SmallVector<Value> inits;
  for (unsigned i = numInputs; i < operands.size(); ++i)
    inits.push_back(load(i).value);
  SmallVector<Value> totals = forDims(reductionDims, inits, [&](ValueRange carried) {
    return llvm::map_to_vector(emitBody(carried), [&](Lane lane) { return vectors ? toVector(lane) : lane.value; });
  });
  storeAll(llvm::map_to_vector(totals, [&](Value v) { return Lane{vectors ? Lane::Vector : Lane::Uniform, v}; }));
}

/// Partial results in lanes, which are combined after the loops. The scalars carried beside them start from the outputs
/// and take the tail when it is scalar.
void LoopEmitter::emitReductionLanes() {
  SmallVector<unsigned> others, all;
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (reduction[dim]) {
      all.push_back(dim);
      if (static_cast<int>(dim) != vectorDim)
        others.push_back(dim);
    }
  unsigned n = combiners.size();
  SmallVector<Value> inits;
  for (Operation *combiner : combiners) {
    auto type = vectorType(combiner->getResult(0).getType());
    inits.push_back(arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(type, Attribute(*arith::getNeutralElement(combiner)))));
  }
  vectors = false;
  for (unsigned i = numInputs; i < operands.size(); ++i)
    inits.push_back(load(i).value);

  Value hi = extentValue[vectorDim];
  Value rest = make<arith::RemUIOp>(hi, index(lanes)), split = make<arith::SubIOp>(hi, rest);
  bool hasTail = !matchPattern(rest, m_Zero());
  Value tailMask;
  if (hasTail && !scalarTail)
    tailMask = vector::CreateMaskOp::create(b, loc, vectorType(b.getI1Type()), rest);
  SmallVector<Value> totals = forDims(others, inits, [&](ValueRange carried) {
    SmallVector<Value> values(carried);
    auto vectorBody = [&](ValueRange args) {
      return llvm::map_to_vector(emitBody(args), [&](Lane lane) { return toVector(lane); });
    };
    vectors = true;
    SmallVector<Value> sums = forLoop(vectorDim, index(0), split, lanes, ValueRange(values).take_front(n), vectorBody);
    if (tailMask) {
      mask = tailMask, tail = rest;
      iv[vectorDim] = split;
      for (auto [old, updated] : llvm::zip_equal(sums, vectorBody(sums)))
        old = arith::SelectOp::create(b, loc, mask, updated, old);
      mask = tail = {};
    }
    vectors = false;
    llvm::copy(sums, values.begin());
    if (hasTail && scalarTail) {
      sums = forLoop(vectorDim, split, hi, 1, ValueRange(values).drop_front(n), [&](ValueRange args) {
        return llvm::map_to_vector(emitBody(args), [&](Lane lane) { return lane.value; });
      });
      llvm::copy(sums, values.begin() + n);
    }
    return values;
  });
  auto reassociate = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::reassoc);
  for (unsigned i = 0; i < n; ++i) {
    auto kind = *combiningKind(combiners[i]);
    Value sum = vector::ReductionOp::create(b, loc, kind, totals[i], reassociate.getValue());
    store(numInputs + i, {Lane::Uniform, vector::makeArithReduction(b, loc, kind, sum, totals[n + i])});
  }
}

//===- Accesses --------------------------------------------------------------------------------------------------===//

SmallVector<Value> LoopEmitter::indices(const LoopOperand &operand) {
  return llvm::map_to_vector(operand.map.getResults(),
                             [&](AffineExpr expr) { return affine::expandAffineExpr(b, loc, expr, iv, {}); });
}

Value LoopEmitter::step() { return vector::StepOp::create(b, loc, vectorType(b.getIndexType())); }

Value LoopEmitter::toVector(Lane lane) {
  if (lane.kind == Lane::Vector)
    return lane.value;
  Value splat = vector::BroadcastOp::create(b, loc, vectorType(lane.value.getType()), lane.value);
  return lane.kind == Lane::Uniform ? splat : arith::AddIOp::create(b, loc, splat, step());
}

/// Elements between neighbours in the vector dimension.
Value LoopEmitter::strideValue(const LoopOperand &operand, unsigned dim) {
  SmallVector<int64_t> strides = stridesOf(operand.type);
  memref::ExtractStridedMetadataOp metadata;
  Value sum = index(0);
  for (auto [i, expr] : llvm::enumerate(operand.map.getResults())) {
    int64_t factor = *coefficient(expr, dim);
    if (factor == 0)
      continue;
    if (ShapedType::isDynamic(strides[i]) && !metadata)
      metadata = memref::ExtractStridedMetadataOp::create(b, loc, operand.value);
    Value stride = ShapedType::isDynamic(strides[i]) ? metadata.getStrides()[i] : index(strides[i]);
    sum = make<arith::AddIOp>(sum, make<arith::MulIOp>(stride, index(factor)));
  }
  return sum;
}

Lane LoopEmitter::loadVector(MemRefType type, Value memref, ValueRange at) {
  VectorType result = vectorType(type.getElementType());
  if (!mask)
    return {Lane::Vector, vector::LoadOp::create(b, loc, result, memref, at)};
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(result));
  return {Lane::Vector, vector::MaskedLoadOp::create(b, loc, result, memref, at, mask, zero)};
}

/// memref[base + 2 · lane]: two vectors of neighbours, half of whose lanes are left out. The second one begins early, so that nothing
/// behind the last element is read.
Lane LoopEmitter::loadEverySecond(MemRefType type, Value memref, ValueRange base) {
  VectorType result = vectorType(type.getElementType());
  auto loadFrom = [&](int64_t first) -> Value {
    SmallVector<Value> at(base);
    at.back() = make<arith::AddIOp>(at.back(), index(first));
    if (!mask)
      return vector::LoadOp::create(b, loc, result, memref, at);
    Value count = make<arith::SubIOp>(make<arith::MulIOp>(tail, index(2)), index(first + 1));
    Value exist = vector::CreateMaskOp::create(b, loc, vectorType(b.getI1Type()), count);
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(result));
    return vector::MaskedLoadOp::create(b, loc, result, memref, at, exist, zero);
  };
  SmallVector<int64_t> even;
  for (int64_t lane = 0; lane < lanes; ++lane)
    even.push_back(2 * lane < lanes ? 2 * lane : 2 * lane + 1);
  Value low = loadFrom(0), high = loadFrom(lanes - 1);
  return {Lane::Vector, vector::ShuffleOp::create(b, loc, low, high, even)};
}

/// memref[base + lane offset], offsets in elements.
Lane LoopEmitter::gather(MemRefType type, Value memref, ValueRange base, Value offsets) {
  VectorType result = vectorType(type.getElementType());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(result));
  if (hardwareGather(type.getElementType())) {
    Value enabled = mask;
    if (!enabled)
      enabled = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vectorType(b.getI1Type()), true));
    return {Lane::Vector, vector::GatherOp::create(b, loc, result, memref, base, offsets, enabled, zero)};
  }
  Value sum = zero;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    SmallVector<Value> at(base);
    at.back() = make<arith::AddIOp>(at.back(), vector::ExtractOp::create(b, loc, offsets, lane));
    sum = vector::InsertOp::create(b, loc, memref::LoadOp::create(b, loc, memref, at), sum, lane);
  }
  return {Lane::Vector, sum};
}

Lane LoopEmitter::load(unsigned i) {
  const LoopOperand &operand = operands[i];
  if (!operand.type)
    return {Lane::Uniform, operand.value};
  if (hoisted[i])
    return {Lane::Uniform, hoisted[i]};
  SmallVector<Value> at = indices(operand);
  if (!vectors || operand.access == Access::Invariant)
    return {Lane::Uniform, memref::LoadOp::create(b, loc, operand.value, at)};
  if (operand.access == Access::Unit)
    return loadVector(operand.type, operand.value, at);
  Value stride = strideValue(operand, vectorDim);
  if (isConstantIntValue(stride, 2))
    return loadEverySecond(operand.type, operand.value, at);
  Value offsets;
  if (auto constant = getConstantIntValue(stride); constant && std::abs(*constant) * lanes < (int64_t(1) << 31)) {
    // 32-bit offsets: one gather instruction for 16 lanes instead of two. Without gathers they index scalar loads.
    bool narrow = hardwareGather(operand.type.getElementType());
    SmallVector<APInt> values;
    for (int64_t lane = 0; lane < lanes; ++lane)
      values.emplace_back(narrow ? 32 : 64, lane * *constant, /*isSigned=*/true);
    VectorType type = vectorType(narrow ? Type(b.getI32Type()) : b.getIndexType());
    offsets = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, values));
  } else {
    Value splat = vector::BroadcastOp::create(b, loc, vectorType(b.getIndexType()), stride);
    offsets = arith::MulIOp::create(b, loc, splat, step());
  }
  return gather(operand.type, operand.value, at, offsets);
}

void LoopEmitter::store(unsigned i, Lane lane) {
  const LoopOperand &operand = operands[i];
  SmallVector<Value> at = indices(operand);
  if (!vectors)
    memref::StoreOp::create(b, loc, lane.value, operand.value, at);
  else if (mask)
    vector::MaskedStoreOp::create(b, loc, operand.value, at, mask, toVector(lane));
  else
    vector::StoreOp::create(b, loc, toVector(lane), operand.value, at);
}

//===- Body ------------------------------------------------------------------------------------------------------===//

SmallVector<Lane> LoopEmitter::emitBody(ValueRange carried) {
  IRMapping scalars;
  DenseMap<Value, Lane> lanesOf;
  auto define = [&](Value original, Lane lane) {
    lanesOf[original] = lane;
    if (lane.kind == Lane::Uniform)
      scalars.map(original, lane.value);
  };
  for (auto [i, operand] : llvm::enumerate(operands)) {
    if (operand.arg.use_empty())
      continue;
    if (i >= numInputs && !carried.empty())
      define(operand.arg, {vectors ? Lane::Vector : Lane::Uniform, carried[i - numInputs]});
    else
      define(operand.arg, load(i));
  }
  for (Operation &bodyOp : op.getBody()->without_terminator()) {
    Lane lane = emitOp(&bodyOp, scalars, lanesOf);
    if (lane.kind != Lane::Uniform)
      define(bodyOp.getResult(0), lane);
    else // a clone of any number of results, which `scalars` holds already
      for (Value result : bodyOp.getResults())
        lanesOf[result] = {Lane::Uniform, scalars.lookup(result)};
  }
  return llvm::map_to_vector(op.getBody()->getTerminator()->getOperands(), [&](Value value) {
    auto it = lanesOf.find(value);
    return it != lanesOf.end() ? it->second : Lane{Lane::Uniform, value};
  });
}

Lane LoopEmitter::emitOp(Operation *bodyOp, IRMapping &scalars, DenseMap<Value, Lane> &lanesOf) {
  if (auto indexOp = dyn_cast<linalg::IndexOp>(bodyOp)) {
    unsigned dim = newDim[indexOp.getDim()];
    scalars.map(indexOp.getResult(), iv[dim]);
    bool varies = vectors && static_cast<int>(dim) == vectorDim;
    return {varies ? Lane::Linear : Lane::Uniform, iv[dim]};
  }
  SmallVector<Lane> args = llvm::map_to_vector(bodyOp->getOperands(), [&](Value value) {
    auto it = lanesOf.find(value);
    return it != lanesOf.end() ? it->second : Lane{Lane::Uniform, value};
  });
  auto uniform = [](Lane lane) { return lane.kind == Lane::Uniform; };
  if (llvm::all_of(args, uniform)) {
    Operation *clone = b.clone(*bodyOp, scalars);
    clone->walk([&](linalg::IndexOp nested) {
      nested.replaceAllUsesWith(iv[newDim[nested.getDim()]]);
      nested.erase();
    });
    return {};
  }
  if (isa<arith::AddIOp, arith::SubIOp>(bodyOp) && args[0].kind == Lane::Linear && uniform(args[1]))
    return {Lane::Linear, make<arith::AddIOp>(args[0].value, isa<arith::AddIOp>(bodyOp)
                                                                 ? args[1].value
                                                                 : make<arith::SubIOp>(index(0), args[1].value))};
  if (auto loadOp = dyn_cast<memref::LoadOp>(bodyOp)) {
    MemRefType type = loadOp.getMemRefType();
    ArrayRef<Lane> position = ArrayRef(args).drop_front();
    SmallVector<Value> base;
    if (position.back().kind == Lane::Linear && llvm::all_of(position.drop_back(), uniform)) {
      for (Lane lane : position)
        base.push_back(lane.value);
      return loadVector(type, args[0].value, base);
    }
    SmallVector<int64_t> strides = stridesOf(type);
    memref::ExtractStridedMetadataOp metadata;
    Value offsets;
    for (auto [i, lane] : llvm::enumerate(position)) {
      if (uniform(lane)) {
        base.push_back(lane.value);
        continue;
      }
      base.push_back(index(0));
      if (ShapedType::isDynamic(strides[i]) && !metadata)
        metadata = memref::ExtractStridedMetadataOp::create(b, loc, args[0].value);
      Value stride = ShapedType::isDynamic(strides[i]) ? metadata.getStrides()[i] : index(strides[i]);
      Value term = toVector(lane);
      if (strides[i] != 1)
        term = arith::MulIOp::create(b, loc, term, toVector({Lane::Uniform, stride}));
      offsets = offsets ? Value(arith::AddIOp::create(b, loc, offsets, term)) : term;
    }
    return gather(type, args[0].value, base, offsets);
  }
  OperationState state(loc, bodyOp->getName());
  for (Lane lane : args)
    state.operands.push_back(toVector(lane));
  for (Type type : bodyOp->getResultTypes())
    state.types.push_back(vectorType(type));
  state.attributes = bodyOp->getAttrDictionary();
  return {Lane::Vector, b.create(state)->getResult(0)};
}

//===- Pass ------------------------------------------------------------------------------------------------------===//

namespace {
struct LinalgToLoops : quanta::impl::LinalgToLoopsBase<LinalgToLoops> {
  using LinalgToLoopsBase::LinalgToLoopsBase;

  void runOnOperation() override {
    if (vectorBits != 128 && vectorBits != 256 && vectorBits != 512) {
      getOperation()->emitError() << "expected vector-bits to be 128, 256 or 512 but got " << vectorBits.getValue();
      return signalPassFailure();
    }
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<linalg::LinalgOp, memref::CopyOp>(op))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : ops) {
      FailureOr<linalg::GenericOp> generic = generalize(rewriter, op);
      if (failed(generic) || !generic->hasPureBufferSemantics()) {
        op->emitError() << "expected a linalg op on buffers";
        return signalPassFailure();
      }
      LoopEmitter(*generic, vectorBits).run();
    }
  }

  FailureOr<linalg::GenericOp> generalize(IRRewriter &rewriter, Operation *op) {
    rewriter.setInsertionPoint(op);
    if (auto generic = dyn_cast<linalg::GenericOp>(op))
      return generic;
    if (auto named = dyn_cast<linalg::LinalgOp>(op))
      return linalg::generalizeNamedOp(rewriter, named);
    auto copy = cast<memref::CopyOp>(op);
    auto type = dyn_cast<MemRefType>(copy.getSource().getType());
    if (!type)
      return failure();
    SmallVector<AffineMap> maps(2, rewriter.getMultiDimIdentityMap(type.getRank()));
    SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
    auto generic = linalg::GenericOp::create(
        rewriter, op->getLoc(), copy.getSource(), copy.getTarget(), maps, iterators,
        [](OpBuilder &builder, Location loc, ValueRange args) { linalg::YieldOp::create(builder, loc, args[0]); });
    rewriter.eraseOp(op);
    return generic;
  }
};
} // namespace
