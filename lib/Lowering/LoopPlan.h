//===- LoopPlan.h - How a linalg op becomes loops ---------------------------------------------------------------===//
//
// Which dimensions are walked as one, how long each is, which one is the vectors' and how each operand is read along it. Found before
// a loop is made; LinalgToLoops.cpp makes them.
//
//===-------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_LOWERING_LOOPPLAN_H
#define QUANTA_LIB_LOWERING_LOOPPLAN_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::quanta {

/// Columns of a transposition done for one vector of rows: their cache lines stay in L1 meanwhile. 1024 x 1024 floats
/// take 6.4 ns an element without it.
inline constexpr int64_t kTransposeTile = 64;

/// How an operand's address changes with the vector dimension.
enum class Access { Invariant, Unit, Strided, Irregular };

/// An operand of the op, with its dimensions as the plan counts them.
struct LoopOperand {
  Value value; ///< a memref, or a scalar
  AffineMap map;
  BlockArgument arg;
  MemRefType type; ///< null for a scalar
  Access access = Access::Invariant;
};

/// d expr / d dim, or nothing if that is not a constant.
std::optional<int64_t> coefficient(AffineExpr expr, unsigned dim);
SmallVector<int64_t> stridesOf(MemRefType type);
/// How vectors of partial results are combined, if `op` combines two.
std::optional<vector::CombiningKind> combiningKind(Operation *op);

class LoopPlan {
public:
  LoopPlan(linalg::GenericOp op, int64_t vectorBits);

protected:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }
  template <typename Op> Value make(Value lhs, Value rhs) { return b.createOrFold<Op>(loc, lhs, rhs); }
  bool hardwareGather(Type element) const {
    return vectorBits >= 256 && element.isIntOrFloat() &&
           llvm::is_contained({32u, 64u}, element.getIntOrFloatBitWidth());
  }

  mutable linalg::GenericOp op;
  int64_t vectorBits;
  OpBuilder b; ///< before the op
  Location loc;

  unsigned numDims;
  SmallVector<LoopOperand> operands;
  unsigned numInputs = 0;
  SmallVector<bool> reduction;  ///< per dimension
  SmallVector<unsigned> newDim; ///< of a dimension of `op`
  SmallVector<int64_t> extent;  ///< or kDynamic
  SmallVector<Value> extentValue;
  /// Whether results are carried through the loops of reduction instead of being stored each time, and whether the body does more
  /// than compute.
  bool hasReduction = false, carries = false, effects = false;
  int vectorDim = -1;                ///< -1: no vectors
  int innerDim = -1, tileDim = -1;   ///< loop inside the vector loop, and the loop over its tiles
  Value innerExtent;
  bool scalarTail = false;
  int64_t lanes = 1;
  double pointWork = 1; ///< operations of one element
  SmallVector<Operation *> combiners;

private:
  void collect();
  void collapse();
  void findExtents();
  void chooseVectors();
  void planTransposition();
  Access classify(const LoopOperand &operand, unsigned dim) const;
  std::optional<double> cost(int dim, bool &needsScalarTail) const;
  bool matchReductions();
};

} // namespace mlir::quanta
#endif
