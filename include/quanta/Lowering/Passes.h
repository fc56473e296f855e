//===- Passes.h - From tensors to the LLVM dialect ---------------------------------------------------------------===//
#ifndef QUANTA_LOWERING_PASSES_H
#define QUANTA_LOWERING_PASSES_H

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "llvm/ADT/DenseMap.h"
#include <functional>

namespace mlir::quanta {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "quanta/Lowering/Passes.h.inc"

struct LoweringOptions {
  unsigned vectorBits = 512;
  std::function<void(OpPassManager &)> beforeBufferize; ///< runs first: compute ops become quanta.kernel on tensors
  std::function<void(OpPassManager &)> afterFuse;       ///< on tensors: kernels take ops that follow them
  std::function<void(OpPassManager &)> afterBufferize;  ///< quanta.kernel on buffers becomes calls of functions
};

/// Tensors to the LLVM dialect. The context needs `registerLoweringInterfaces`.
void buildLoweringPipeline(OpPassManager &pm, const LoweringOptions &options);

/// Interfaces that the passes look up: bufferization of quanta ops and of upstream dialects, conversions to LLVM.
void registerLoweringInterfaces(DialectRegistry &registry);

/// The pipeline `quanta-lower`, without kernels. `registerQuantaLoweringPasses` is generated.
void registerLoweringPipelines();

/// Where each quanta.weights (quanta.states) of the module lies behind the base address of all weights (of an instance's
/// memory): 64-byte aligned, in module order.
DenseMap<StringAttr, int64_t> assignWeightOffsets(ModuleOp module, int64_t &total);
DenseMap<StringAttr, int64_t> assignStateOffsets(ModuleOp module, int64_t &total);

/// Bytes that one element takes in memory.
int64_t getElementBytes(Type elementType);

/// The allocation whose whole contents `buffer` shows contiguously from the first byte, or null.
Value getWholeAllocation(Value buffer);
} // namespace mlir::quanta

#endif
