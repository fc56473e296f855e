//===- LinalgToLoops.cpp - Loops with explicit vectors for linalg on buffers -------------------------------------===//
//
// One linalg op becomes: (parallel tasks) x (loops over parallel dimensions) x (one loop over vectors of the dimension
// that makes most accesses contiguous) x (reduction loops). The body is cloned once with vectors and once for the tail.
// Values that do not depend on the vector dimension stay scalars until a vector op needs them.
//
//===-------------------------------------------------------------------------------------------------------------===//
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
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

/// Columns of a transposition done for one vector of rows: their cache lines stay in L1 meanwhile. 1024 x 1024 floats
/// take 6.4 ns an element without it.
constexpr int64_t kTransposeTile = 64;

/// How an operand's address changes with the vector dimension.
enum class Access { Invariant, Unit, Strided, Irregular };

/// A value in the cloned body: one scalar for all lanes, `value + lane`, or a vector.
struct Lane {
  enum Kind { Uniform, Linear, Vector } kind = Uniform;
  Value value;
};

struct Operand {
  Value value; ///< a memref, or a scalar
  AffineMap map;
  BlockArgument arg;
  MemRefType type; ///< null for a scalar
  Access access = Access::Invariant;
};

/// d expr / d dim, or nothing if that is not a constant.
std::optional<int64_t> coefficient(AffineExpr expr, unsigned dim) {
  if (!expr.isFunctionOfDim(dim))
    return 0;
  if (isa<AffineDimExpr>(expr))
    return 1;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  auto lhs = coefficient(binary.getLHS(), dim), rhs = coefficient(binary.getRHS(), dim);
  if (!lhs || !rhs)
    return std::nullopt;
  if (expr.getKind() == AffineExprKind::Add)
    return *lhs + *rhs;
  auto factor = dyn_cast<AffineConstantExpr>(binary.getRHS());
  if (expr.getKind() == AffineExprKind::Mul && factor)
    return *lhs * factor.getValue();
  return std::nullopt;
}

SmallVector<int64_t> stridesOf(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    strides.assign(type.getRank(), ShapedType::kDynamic);
  return strides;
}

std::optional<vector::CombiningKind> combiningKind(Operation *op) {
  using K = vector::CombiningKind;
  return TypeSwitch<Operation *, std::optional<K>>(op)
      .Case<arith::AddFOp, arith::AddIOp>([](auto) { return K::ADD; })
      .Case<arith::MulFOp, arith::MulIOp>([](auto) { return K::MUL; })
      .Case<arith::MaximumFOp>([](auto) { return K::MAXIMUMF; })
      .Case<arith::MinimumFOp>([](auto) { return K::MINIMUMF; })
      .Case<arith::MaxSIOp>([](auto) { return K::MAXSI; })
      .Case<arith::MinSIOp>([](auto) { return K::MINSI; })
      .Case<arith::MaxUIOp>([](auto) { return K::MAXUI; })
      .Case<arith::MinUIOp>([](auto) { return K::MINUI; })
      .Case<arith::AndIOp>([](auto) { return K::AND; })
      .Case<arith::OrIOp>([](auto) { return K::OR; })
      .Case<arith::XOrIOp>([](auto) { return K::XOR; })
      .Default(std::nullopt);
}

bool isIntegerDivision(Operation *op) {
  return isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::CeilDivSIOp, arith::CeilDivUIOp,
             arith::FloorDivSIOp>(op);
}

bool isVectorElement(Type type) { return type.isIntOrIndexOrFloat(); }

class Emitter {
public:
  Emitter(linalg::GenericOp op, int64_t vectorBits)
      : op(op), vectorBits(vectorBits), b(op), loc(op.getLoc()), numDims(op.getNumLoops()) {}

  void run() {
    collect();
    collapse();
    findExtents();
    plan();
    emit();
    op.erase();
  }

private:
  //===- Analysis
  //-----------------------------------------------------------------------------------------------------===//
  void collect();
  void collapse();
  void findExtents();
  void plan();
  Access classify(const Operand &operand, unsigned dim) const;
  std::optional<double> cost(int dim, bool &scalarTail) const;
  bool hardwareGather(Type element) const {
    return vectorBits >= 256 && element.isIntOrFloat() &&
           llvm::is_contained({32u, 64u}, element.getIntOrFloatBitWidth());
  }
  bool matchReductions();

  //===- Emission
  //-----------------------------------------------------------------------------------------------------===//
  using LoopBody = function_ref<SmallVector<Value>(ValueRange)>;
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  template <typename Op> Value make(Value lhs, Value rhs) { return b.createOrFold<Op>(loc, lhs, rhs); }
  SmallVector<Value> forLoop(unsigned dim, Value lo, Value hi, int64_t step, ValueRange inits, LoopBody body);
  SmallVector<Value> forDims(ArrayRef<unsigned> dims, ValueRange inits, LoopBody body);
  void emit();
  void emitRows(ArrayRef<unsigned> dims, Value lo, Value hi);
  void emitVectorDim(Value lo, Value hi);
  void planTransposition();
  void emitPoint();
  void emitElement();
  void emitReductionLanes();
  SmallVector<Lane> emitBody(ValueRange carried);
  Lane emitOp(Operation *bodyOp, IRMapping &scalars, DenseMap<Value, Lane> &lanes);
  Lane load(unsigned operand);
  Lane gather(MemRefType type, Value memref, ValueRange base, Value offsets);
  Lane loadVector(MemRefType type, Value memref, ValueRange indices);
  void store(unsigned operand, Lane lane);
  SmallVector<Value> indices(const Operand &operand);
  VectorType vectorType(Type element) const { return VectorType::get({lanes}, element); }
  Value toVector(Lane lane);
  Value step();
  Value strideValue(const Operand &operand, unsigned dim);
  void hoistLoads(ArrayRef<unsigned> unbound);

  mutable linalg::GenericOp op;
  int64_t vectorBits;
  OpBuilder b;
  Location loc;

  unsigned numDims;
  SmallVector<Operand> operands;
  unsigned numInputs = 0;
  SmallVector<bool> reduction;  ///< per dimension
  SmallVector<unsigned> newDim; ///< of a dimension of `op`
  SmallVector<int64_t> extent;  ///< or kDynamic
  SmallVector<Value> extentValue;
  bool hasReduction = false, carries = false, effects = false;
  int vectorDim = -1;
  int innerDim = -1, tileDim = -1; ///< loop inside the vector loop, and the loop over its tiles
  Value innerExtent;
  bool scalarTail = false;
  int64_t lanes = 1;
  double pointWork = 1;
  SmallVector<Operation *> combiners;

  SmallVector<Value> iv;      ///< current index of each dimension
  SmallVector<Value> hoisted; ///< loaded inputs that no enclosed loop changes
  bool vectors = false;       ///< whether lanes are being emitted rather than one scalar
  Value mask;                 ///< of the tail
};
} // namespace

//===- Analysis --------------------------------------------------------------------------------------------------===//

void Emitter::collect() {
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (OpOperand &operand : op->getOpOperands())
    operands.push_back({operand.get(), maps[operand.getOperandNumber()], op.getMatchingBlockArgument(&operand),
                        dyn_cast<MemRefType>(operand.get().getType())});
  numInputs = op.getNumDpsInputs();
  for (utils::IteratorType type : op.getIteratorTypesArray())
    reduction.push_back(type == utils::IteratorType::reduction);
}

/// Treats dimensions that every operand walks contiguously as one.
void Emitter::collapse() {
  llvm::SmallDenseSet<unsigned> indexed;
  op.walk([&](linalg::IndexOp indexOp) { indexed.insert(indexOp.getDim()); });
  auto adjacent = [&](const Operand &operand, unsigned dim) {
    if (!operand.map.isFunctionOfDim(dim) && !operand.map.isFunctionOfDim(dim + 1))
      return true;
    ArrayRef<AffineExpr> results = operand.map.getResults();
    AffineExpr first = b.getAffineDimExpr(dim), second = b.getAffineDimExpr(dim + 1);
    auto found = llvm::find(results, first);
    if (!operand.type || found == results.end() || found + 1 == results.end() || found[1] != second)
      return false;
    for (auto it = results.begin(); it != results.end(); ++it)
      if (it != found && it != found + 1 && (it->isFunctionOfDim(dim) || it->isFunctionOfDim(dim + 1)))
        return false;
    if (operand.type.getLayout().isIdentity())
      return true;
    unsigned p = found - results.begin();
    SmallVector<int64_t> strides = stridesOf(operand.type);
    return !operand.type.isDynamicDim(p + 1) && !ShapedType::isDynamic(strides[p]) &&
           !ShapedType::isDynamic(strides[p + 1]) && strides[p] == strides[p + 1] * operand.type.getDimSize(p + 1);
  };

  SmallVector<bool> newReduction;
  for (unsigned dim = 0; dim < numDims; ++dim) {
    bool merge = dim > 0 && reduction[dim] == reduction[dim - 1] && !indexed.contains(dim) &&
                 !indexed.contains(dim - 1) &&
                 llvm::all_of(operands, [&](const Operand &operand) { return adjacent(operand, dim - 1); });
    if (!merge)
      newReduction.push_back(reduction[dim]);
    newDim.push_back(newReduction.size() - 1);
  }
  SmallVector<AffineExpr> replacement;
  for (unsigned dim : newDim)
    replacement.push_back(b.getAffineDimExpr(dim));
  for (Operand &operand : operands) {
    SmallVector<AffineExpr> results;
    SmallVector<ReassociationIndices> groups;
    AffineExpr previous;
    for (auto [i, expr] : llvm::enumerate(operand.map.getResults())) {
      AffineExpr renamed = expr.replaceDims(replacement);
      auto dim = dyn_cast<AffineDimExpr>(expr), before = dyn_cast_or_null<AffineDimExpr>(previous);
      bool merged = dim && before && dim.getPosition() == before.getPosition() + 1 && renamed == results.back();
      if (!merged) {
        results.push_back(renamed);
        groups.emplace_back();
      }
      groups.back().push_back(i);
      previous = expr;
    }
    if (operand.type && results.size() != operand.map.getNumResults()) {
      operand.value = memref::CollapseShapeOp::create(b, loc, operand.value, groups);
      operand.type = cast<MemRefType>(operand.value.getType());
    }
    operand.map = AffineMap::get(newReduction.size(), 0, results, b.getContext());
  }
  reduction = newReduction;
  numDims = reduction.size();
}

void Emitter::findExtents() {
  extent.assign(numDims, ShapedType::kDynamic);
  extentValue.resize(numDims);
  iv.resize(numDims);
  for (unsigned dim = 0; dim < numDims; ++dim) {
    std::pair<Value, unsigned> source;
    for (const Operand &operand : operands)
      for (auto [i, expr] : llvm::enumerate(operand.map.getResults()))
        if (operand.type && expr == b.getAffineDimExpr(dim)) {
          if (!operand.type.isDynamicDim(i))
            extent[dim] = operand.type.getDimSize(i);
          source = {operand.value, i};
        }
    extentValue[dim] = ShapedType::isDynamic(extent[dim])
                           ? b.createOrFold<memref::DimOp>(loc, source.first, source.second)
                           : index(extent[dim]);
  }
  hasReduction = llvm::is_contained(reduction, true);
  carries = hasReduction && llvm::all_of(ArrayRef(operands).drop_front(numInputs), [&](const Operand &out) {
              return llvm::none_of(llvm::seq(numDims),
                                   [&](unsigned d) { return reduction[d] && out.map.isFunctionOfDim(d); });
            });
}

Access Emitter::classify(const Operand &operand, unsigned dim) const {
  if (!operand.type || !operand.map.isFunctionOfDim(dim))
    return Access::Invariant;
  SmallVector<int64_t> strides = stridesOf(operand.type);
  bool unit = true;
  for (auto [i, expr] : llvm::enumerate(operand.map.getResults())) {
    if (!expr.isFunctionOfDim(dim))
      continue;
    auto factor = coefficient(expr, dim);
    if (!factor)
      return Access::Irregular;
    unit &= i + 1 == operand.map.getNumResults() && *factor == 1 && strides[i] == 1;
  }
  // The gather op wants a unit innermost stride as well.
  return unit ? Access::Unit : strides.back() == 1 ? Access::Strided : Access::Irregular;
}

bool Emitter::matchReductions() {
  combiners.clear();
  for (unsigned i = 0, e = op.getNumDpsInits(); i < e; ++i) {
    SmallVector<Operation *> found;
    if (!matchReduction(op.getRegionOutputArgs(), i, found) || found.size() != 1 || !combiningKind(found[0]) ||
        !arith::getNeutralElement(found[0]))
      return false;
    combiners.push_back(found[0]);
  }
  return true;
}

/// Cost of one element when `dim` is the vector dimension (-1: no vectors), or nothing if it cannot be.
std::optional<double> Emitter::cost(int dim, bool &needsScalarTail) const {
  double total = 0;
  bool vector = dim >= 0;
  needsScalarTail = vectorBits < 512;
  llvm::SmallDenseSet<Value> varying;
  for (auto [i, operand] : llvm::enumerate(operands)) {
    Access access = vector ? classify(operand, dim) : Access::Invariant;
    bool output = i >= numInputs;
    if (access == Access::Irregular || (output && vector && access != Access::Unit && !reduction[dim]) ||
        (output && vector && reduction[dim] && access != Access::Invariant))
      return std::nullopt;
    if (vector && operand.type && !isVectorElement(operand.type.getElementType()))
      return std::nullopt;
    if (access == Access::Strided) {
      bool hardware = hardwareGather(operand.type.getElementType());
      needsScalarTail |= !hardware;
      total += lanes * (hardware ? 0.75 : 1.25);
    } else {
      total += access == Access::Unit || !vector ? 1 : 0.25;
    }
    if (access != Access::Invariant || output)
      varying.insert(operand.arg);
  }
  for (Operation &bodyOp : op.getBody()->without_terminator()) {
    auto indexOp = dyn_cast<linalg::IndexOp>(bodyOp);
    bool varies = indexOp ? vector && newDim[indexOp.getDim()] == static_cast<unsigned>(dim)
                          : llvm::any_of(bodyOp.getOperands(), [&](Value v) { return varying.contains(v); });
    if (!varies && vector && !bodyOp.getNumRegions())
      continue;
    double work = isa<math::MathDialect>(bodyOp.getDialect()) && !isa<math::FmaOp, math::AbsFOp, math::SqrtOp>(bodyOp)
                      ? 10
                  : isa<arith::ConstantOp>(bodyOp) ? 0
                                                   : 1;
    if (vector) {
      varying.insert(bodyOp.getResults().begin(), bodyOp.getResults().end());
      auto load = dyn_cast<memref::LoadOp>(bodyOp);
      if (load) {
        bool hardware = hardwareGather(load.getMemRefType().getElementType());
        if (load.getMemRefType().getRank() == 0 || stridesOf(load.getMemRefType()).back() != 1)
          return std::nullopt;
        needsScalarTail |= !hardware;
        work = lanes * (hardware ? 1 : 2);
      } else if (!indexOp && (bodyOp.getNumRegions() || !OpTrait::hasElementwiseMappableTraits(&bodyOp) ||
                              !llvm::all_of(bodyOp.getResultTypes(), isVectorElement) ||
                              !llvm::all_of(bodyOp.getOperandTypes(), isVectorElement))) {
        return std::nullopt;
      }
      // Disabled lanes hold zeros, and x86 traps on a division by zero.
      needsScalarTail |= isIntegerDivision(&bodyOp);
    } else if (bodyOp.getNumRegions()) {
      work = 20;
    }
    total += work;
  }
  if (!vector)
    return total;
  double perVector = lanes;
  if (int64_t n = extent[dim]; !ShapedType::isDynamic(n) && n > 0)
    perVector = double(n) / (n / lanes + (needsScalarTail ? n % lanes : n % lanes != 0));
  return total / perVector * (reduction[dim] ? 1.1 : 1.0);
}

void Emitter::plan() {
  unsigned narrow = 64, wide = 8;
  auto note = [&](Type type) {
    if (!type.isIntOrFloat() || type.isInteger(1))
      return;
    narrow = std::min(narrow, type.getIntOrFloatBitWidth());
    wide = std::max(wide, type.getIntOrFloatBitWidth());
  };
  for (Value arg : op.getBody()->getArguments())
    note(arg.getType());
  for (Operation &bodyOp : op.getBody()->without_terminator()) {
    llvm::for_each(bodyOp.getResultTypes(), note);
    effects |= !isMemoryEffectFree(&bodyOp) && !isa<memref::LoadOp>(bodyOp);
  }
  // One lane count serves all types of the body; that of 32 bits unless all are wider or narrower.
  lanes = vectorBits / (narrow == 64 ? 64 : std::min(wide, 32u));

  bool tail = false;
  double best = *cost(-1, tail);
  pointWork = std::max(1.0, best);
  bool reducible = carries && matchReductions();
  for (unsigned dim = 0; dim < numDims && !effects; ++dim) {
    if (extent[dim] == 1 || (reduction[dim] ? !reducible : hasReduction && !carries))
      continue;
    std::optional<double> candidate = cost(dim, tail);
    if (candidate && *candidate <= best) {
      best = *candidate;
      vectorDim = dim;
      scalarTail = tail;
    }
  }
  hoisted.resize(operands.size());
  if (vectorDim < 0)
    return;
  for (Operand &operand : operands)
    operand.access = classify(operand, vectorDim);
  planTransposition();
}

/// A gathered input wants the loop over its own contiguous dimension inside the vector loop, to use whole cache lines.
void Emitter::planTransposition() {
  if (hasReduction)
    return;
  for (const Operand &operand : ArrayRef(operands).take_front(numInputs))
    for (unsigned dim = 0; dim < numDims && innerDim < 0; ++dim)
      if (operand.access == Access::Strided && static_cast<int>(dim) != vectorDim && extent[dim] != 1 &&
          classify(operand, dim) == Access::Unit)
        innerDim = dim;
  if (innerDim < 0)
    return;
  innerExtent = extentValue[innerDim];
  if (!ShapedType::isDynamic(extent[innerDim]) && extent[innerDim] <= kTransposeTile)
    return;
  tileDim = numDims++;
  reduction.push_back(false);
  Value tile = index(kTransposeTile);
  extentValue.push_back(make<arith::CeilDivUIOp>(innerExtent, tile));
  extent.push_back(getConstantIntValue(extentValue[tileDim]).value_or(ShapedType::kDynamic));
  iv.emplace_back();
  extentValue[innerDim] = tile;
  extent[innerDim] = kTransposeTile;
}

//===- Loops -----------------------------------------------------------------------------------------------------===//

SmallVector<Value> Emitter::forLoop(unsigned dim, Value lo, Value hi, int64_t step, ValueRange inits, LoopBody body) {
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

SmallVector<Value> Emitter::forDims(ArrayRef<unsigned> dims, ValueRange inits, LoopBody body) {
  if (dims.empty())
    return body(inits);
  return forLoop(dims[0], index(0), extentValue[dims[0]], 1, inits,
                 [&](ValueRange args) { return forDims(dims.drop_front(), args, body); });
}

void Emitter::emit() {
  SmallVector<unsigned> outer;
  for (unsigned dim = 0; dim < numDims; ++dim)
    if (!reduction[dim] && static_cast<int>(dim) != vectorDim && static_cast<int>(dim) != innerDim && extent[dim] != 1)
      outer.push_back(dim);
  Value zero = index(0);
  for (unsigned dim = 0; dim < numDims; ++dim)
    iv[dim] = zero;
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

void Emitter::emitRows(ArrayRef<unsigned> dims, Value lo, Value hi) {
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
void Emitter::hoistLoads(ArrayRef<unsigned> unbound) {
  for (unsigned i = 0; i < numInputs; ++i)
    if (operands[i].type && !operands[i].arg.use_empty() &&
        llvm::none_of(unbound, [&](unsigned dim) { return operands[i].map.isFunctionOfDim(dim); }))
      hoisted[i] = memref::LoadOp::create(b, loc, operands[i].value, indices(operands[i]));
}

void Emitter::emitVectorDim(Value lo, Value hi) {
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
      mask = vector::CreateMaskOp::create(b, loc, vectorType(b.getI1Type()), rest);
      iv[vectorDim] = split;
      emitPoint();
      mask = {};
    }
  }
  vectors = false;
  hoisted.assign(operands.size(), Value());
}

void Emitter::emitPoint() {
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
void Emitter::emitElement() {
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
void Emitter::emitReductionLanes() {
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
  bool tail = !matchPattern(rest, m_Zero());
  Value tailMask;
  if (tail && !scalarTail)
    tailMask = vector::CreateMaskOp::create(b, loc, vectorType(b.getI1Type()), rest);
  SmallVector<Value> totals = forDims(others, inits, [&](ValueRange carried) {
    SmallVector<Value> values(carried);
    auto vectorBody = [&](ValueRange args) {
      return llvm::map_to_vector(emitBody(args), [&](Lane lane) { return toVector(lane); });
    };
    vectors = true;
    SmallVector<Value> sums = forLoop(vectorDim, index(0), split, lanes, ValueRange(values).take_front(n), vectorBody);
    if (tailMask) {
      mask = tailMask;
      iv[vectorDim] = split;
      for (auto [old, updated] : llvm::zip_equal(sums, vectorBody(sums)))
        old = arith::SelectOp::create(b, loc, mask, updated, old);
      mask = {};
    }
    vectors = false;
    llvm::copy(sums, values.begin());
    if (tail && scalarTail) {
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

SmallVector<Value> Emitter::indices(const Operand &operand) {
  return llvm::map_to_vector(operand.map.getResults(),
                             [&](AffineExpr expr) { return affine::expandAffineExpr(b, loc, expr, iv, {}); });
}

Value Emitter::step() { return vector::StepOp::create(b, loc, vectorType(b.getIndexType())); }

Value Emitter::toVector(Lane lane) {
  if (lane.kind == Lane::Vector)
    return lane.value;
  Value splat = vector::BroadcastOp::create(b, loc, vectorType(lane.value.getType()), lane.value);
  return lane.kind == Lane::Uniform ? splat : arith::AddIOp::create(b, loc, splat, step());
}

/// Elements between neighbours in the vector dimension.
Value Emitter::strideValue(const Operand &operand, unsigned dim) {
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

Lane Emitter::loadVector(MemRefType type, Value memref, ValueRange at) {
  VectorType result = vectorType(type.getElementType());
  if (!mask)
    return {Lane::Vector, vector::LoadOp::create(b, loc, result, memref, at)};
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(result));
  return {Lane::Vector, vector::MaskedLoadOp::create(b, loc, result, memref, at, mask, zero)};
}

/// memref[base + lane offset], offsets in elements.
Lane Emitter::gather(MemRefType type, Value memref, ValueRange base, Value offsets) {
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

Lane Emitter::load(unsigned i) {
  const Operand &operand = operands[i];
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

void Emitter::store(unsigned i, Lane lane) {
  const Operand &operand = operands[i];
  SmallVector<Value> at = indices(operand);
  if (!vectors)
    memref::StoreOp::create(b, loc, lane.value, operand.value, at);
  else if (mask)
    vector::MaskedStoreOp::create(b, loc, operand.value, at, mask, toVector(lane));
  else
    vector::StoreOp::create(b, loc, toVector(lane), operand.value, at);
}

//===- Body ------------------------------------------------------------------------------------------------------===//

SmallVector<Lane> Emitter::emitBody(ValueRange carried) {
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

Lane Emitter::emitOp(Operation *bodyOp, IRMapping &scalars, DenseMap<Value, Lane> &lanesOf) {
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
      Emitter(*generic, vectorBits).run();
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
