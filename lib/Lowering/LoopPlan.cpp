//===- LoopPlan.cpp - How a linalg op becomes loops -------------------------------------------------------------===//
#include "LoopPlan.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::quanta;

std::optional<int64_t> quanta::coefficient(AffineExpr expr, unsigned dim) {
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

SmallVector<int64_t> quanta::stridesOf(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    strides.assign(type.getRank(), ShapedType::kDynamic);
  return strides;
}

std::optional<vector::CombiningKind> quanta::combiningKind(Operation *op) {
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

static bool isIntegerDivision(Operation *op) {
  return isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::CeilDivSIOp, arith::CeilDivUIOp,
             arith::FloorDivSIOp>(op);
}

static bool isVectorElement(Type type) { return type.isIntOrIndexOrFloat(); }

LoopPlan::LoopPlan(linalg::GenericOp op, int64_t vectorBits)
    : op(op), vectorBits(vectorBits), b(op), loc(op.getLoc()), numDims(op.getNumLoops()) {
  collect();
  collapse();
  findExtents();
  chooseVectors();
}

void LoopPlan::collect() {
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  for (OpOperand &operand : op->getOpOperands())
    operands.push_back({operand.get(), maps[operand.getOperandNumber()], op.getMatchingBlockArgument(&operand),
                        dyn_cast<MemRefType>(operand.get().getType())});
  numInputs = op.getNumDpsInputs();
  for (utils::IteratorType type : op.getIteratorTypesArray())
    reduction.push_back(type == utils::IteratorType::reduction);
}

/// Treats dimensions that every operand walks contiguously as one.
void LoopPlan::collapse() {
  llvm::SmallDenseSet<unsigned> indexed;
  op.walk([&](linalg::IndexOp indexOp) { indexed.insert(indexOp.getDim()); });
  auto adjacent = [&](const LoopOperand &operand, unsigned dim) {
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
                 llvm::all_of(operands, [&](const LoopOperand &operand) { return adjacent(operand, dim - 1); });
    if (!merge)
      newReduction.push_back(reduction[dim]);
    newDim.push_back(newReduction.size() - 1);
  }
  SmallVector<AffineExpr> replacement;
  for (unsigned dim : newDim)
    replacement.push_back(b.getAffineDimExpr(dim));
  for (LoopOperand &operand : operands) {
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

void LoopPlan::findExtents() {
  extent.assign(numDims, ShapedType::kDynamic);
  extentValue.resize(numDims);
  for (unsigned dim = 0; dim < numDims; ++dim) {
    std::pair<Value, unsigned> source;
    for (const LoopOperand &operand : operands)
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
  carries = hasReduction && llvm::all_of(ArrayRef(operands).drop_front(numInputs), [&](const LoopOperand &out) {
              return llvm::none_of(llvm::seq(numDims),
                                   [&](unsigned d) { return reduction[d] && out.map.isFunctionOfDim(d); });
            });
}

Access LoopPlan::classify(const LoopOperand &operand, unsigned dim) const {
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

bool LoopPlan::matchReductions() {
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
std::optional<double> LoopPlan::cost(int dim, bool &needsScalarTail) const {
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

void LoopPlan::chooseVectors() {
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
  if (vectorDim < 0)
    return;
  for (LoopOperand &operand : operands)
    operand.access = classify(operand, vectorDim);
  planTransposition();
}

/// A gathered input wants the loop over its own contiguous dimension inside the vector loop, to use whole cache lines.
void LoopPlan::planTransposition() {
  if (hasReduction)
    return;
  for (const LoopOperand &operand : ArrayRef(operands).take_front(numInputs))
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
  extentValue[innerDim] = tile;
  extent[innerDim] = kTransposeTile;
}
