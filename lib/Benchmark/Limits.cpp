//===- Limits.cpp - Kernels that do one thing as fast as the machine can --------------------------------------------------===//
#include "Workload.h"
#include "quanta/Codegen/BFloatDot.h"
#include "quanta/Codegen/Codegen.h"
#include "quanta/Codegen/IntegerDot.h"
#include "quanta/Codegen/MatrixUnit.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Lowering/Passes.h"
#include "mlir/Dialect/AMX/AMXDialect.h"
#include <numeric>

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// `streams` streams of lines, each line added to a sum, and asked for in the cache `ahead` lines before if that is not 0.
Value emitRead(KernelBuilder &b, Value data, Value task, ReadWay way) {
  int64_t lines = cast<MemRefType>(data.getType()).getDimSize(1) / way.streams;
  SmallVector<Value> sums(way.streams, b.tileOf(0));
  sums = b.loop(b.index(0), b.index(lines), 1, sums, [&](Value line, ValueRange carried) {
    SmallVector<Value> next;
    for (auto [s, sum] : llvm::enumerate(carried)) {
      Value at = b.add(line, s * lines);
      if (way.ahead)
        b.prefetch(data, {task, b.add(at, way.ahead), b.index(0)});
      next.push_back(b.add(sum, b.loadTile(data, {task, at, b.index(0)})));
    }
    return next;
  });
  return std::accumulate(sums.begin() + 1, sums.end(), sums.front(), [&](Value x, Value y) { return b.add(x, y); });
}

/// The way whose number is chosen[0], so that all of them read the same bytes.
void emitReads(KernelBuilder &b, Value chosen, Value data, Value out) {
  Value way = arith::FPToSIOp::create(b, b.getI32Type(), b.load(chosen, {b.index(0)}));
  b.parallel(b.index(cast<MemRefType>(data.getType()).getDimSize(0)), [&](Value task) {
    for (size_t i = 0; i < getReadWays().size(); ++i) {
      Value number = arith::ConstantIntOp::create(b, b.getI32Type(), i);
      b.ifThen(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, way, number),
               [&] { b.storeTile(emitRead(b, data, task, getReadWays()[i]), out, {task, b.index(0)}); });
    }
  });
}

/// Independent sums that fill the registers and depend on their last values, so that no step can be left out.
void emitPeak(KernelBuilder &b, Value data, Value out, Value zero, int64_t steps,
              function_ref<Value(Value sum, Value row, Value column)> step, function_ref<Value(Value, Value)> combine) {
  int64_t tasks = cast<MemRefType>(out.getType()).getDimSize(0);
  int64_t rows = b.registers.rows, tiles = b.registers.tiles;
  b.parallel(b.index(tasks), [&](Value task) {
    auto operand = [&](int64_t i) { return b.loadTile(data, {b.index(i), b.index(0)}); };
    Value row = operand(0);
    SmallVector<Value> columns, sums(rows * tiles, zero);
    for (int64_t t = 0; t < tiles; ++t)
      columns.push_back(operand(1 + t));
    for (auto [i, sum] : llvm::enumerate(sums))
      sum = combine(operand(i % 16 + 8), zero);
    sums = b.loop(b.index(0), b.index(steps), 1, sums, [&](Value, ValueRange carried) {
      SmallVector<Value> next;
      for (auto [i, sum] : llvm::enumerate(carried))
        next.push_back(step(sum, row, columns[i % tiles]));
      return next;
    });
    Value total = sums.front();
    for (Value sum : ArrayRef(sums).drop_front())
      total = combine(total, sum);
    b.storeTile(total, out, {task, b.index(0)});
  });
}

/// Products of random matrices in registers: two of activations, two of codes, four of sums. Of zeros they would take less power, and time.
void emitMatrixPeak(KernelBuilder &b, MatrixElement element, Value data, Value out, int64_t steps) {
  Type type = cast<MemRefType>(out.getType()).getElementType();
  b.parallel(b.index(cast<MemRefType>(out.getType()).getDimSize(0)), [&](Value task) {
    SmallVector<Value> operands, sums;
    for (int64_t i = 0; i < 4; ++i) {
      operands.push_back(emitMatrixLoad(b, element, data, {b.index(16 * i), b.index(0)}));
      sums.push_back(emitMatrixZero(b, element));
    }
    sums = b.loop(b.index(0), b.index(steps), 1, sums, [&](Value, ValueRange carried) {
      SmallVector<Value> next;
      for (auto [i, sum] : llvm::enumerate(carried))
        next.push_back(emitMatrixDot(b, sum, operands[i / 2], operands[2 + i % 2], /*codesAreSigned=*/true));
      return next;
    });
    Value stored = b.scratch({16, 16}, type), total;
    for (Value sum : sums) {
      emitMatrixStore(b, sum, stored, {b.index(0), b.index(0)});
      Value row = b.loadTile(stored, {b.index(0), b.index(0)});
      total = !total ? row : element == MatrixElement::Byte ? b.add(total, row) : b.addf(total, row);
    }
    b.storeTile(total, out, {task, b.index(0)});
  });
}

struct EmitLimits : PassWrapper<EmitLimits, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitLimits)
  explicit EmitLimits(const ::quanta::TargetLevel &level) : level(level) {}
  EmitLimits(const EmitLimits &other) : PassWrapper(other), level(other.level) {}

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<scf::SCFDialect, vector::VectorDialect, arith::ArithDialect, math::MathDialect, LLVM::LLVMDialect, amx::AMXDialect>();
  }

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    llvm::StringMap<func::FuncOp> functions;
    getOperation().walk([&](KernelOp kernel) {
      func::FuncOp &function = functions[kernel.getFamily()];
      if (!function)
        symbols.insert(function = emit(kernel));
      OpBuilder builder(kernel);
      func::CallOp::create(builder, kernel.getLoc(), function, kernel.getOperands());
      kernel.erase();
    });
  }

  func::FuncOp emit(KernelOp kernel) {
    OpBuilder atEnd = OpBuilder::atBlockEnd(getOperation().getBody());
    std::string name = kernel.getFamily().str();
    llvm::replace(name, '-', '_');
    auto function = func::FuncOp::create(atEnd, kernel.getLoc(), name, atEnd.getFunctionType(kernel.getOperandTypes(), {}));
    function.setPrivate();
    Block *body = function.addEntryBlock();
    KernelBuilder b{ImplicitLocOpBuilder::atBlockEnd(kernel.getLoc(), body)};
    b.setLevel(level);
    Value data = body->getArgument(kernel.getInputs().size()), out = body->getArguments().back();
    constexpr int64_t kSteps = 4096;
    auto addIntegers = [&](Value x, Value y) { return b.add(x, y); };
    if (kernel.getFamily() == "read") {
      emitReads(b, body->getArgument(0), data, out);
    } else if (kernel.getFamily() == "peak-matrix") {
      emitMatrixPeak(b, MatrixElement::Byte, data, out, kSteps);
    } else if (kernel.getFamily() == "peak-bfloat-matrix") {
      emitMatrixPeak(b, MatrixElement::BFloat, data, out, kSteps);
    } else if (kernel.getFamily() == "peak-float") {
      emitPeak(b, data, out, b.tileOf(0.0f), kSteps, [&](Value sum, Value x, Value y) { return b.fma(x, y, sum); },
               [&](Value x, Value y) { return b.addf(x, y); });
    } else if (kernel.getFamily() == "peak-bfloat") {
      auto words = [&](Value tile) { return Value(vector::BitCastOp::create(b, b.i32Tile(), tile)); };
      emitPeak(b, data, out, b.tileOf(0.0f), kSteps,
               [&](Value sum, Value x, Value y) { return multipliesBFloats(level) ? emitBFloatDot(b, sum, words(x), words(y)) : b.fma(x, y, sum); },
               [&](Value x, Value y) { return b.addf(x, y); });
    } else if (kernel.getFamily() == "peak-integer") {
      // The sum is a factor, too: where products are added in an instruction of their own, they would leave the loop.
      emitPeak(b, data, out, b.tileOf(0), kSteps,
               [&](Value sum, Value, Value y) { return emitIntegerDot(b, sum, y, sum, /*codeBits=*/7); }, addIntegers);
    } else {
      emitPeak(b, data, out, b.tileOf(0), kSteps, [&](Value sum, Value x, Value y) { return addPopcount(b, sum, y); }, addIntegers);
    }
    b.setInsertionPointToEnd(body);
    func::ReturnOp::create(b);
    return function;
  }

  /// sum + popcount(sum ^ y) in lanes of 64 bits.
  static Value addPopcount(KernelBuilder &b, Value sum, Value y) {
    auto i64s = VectorType::get({kLanes / 2}, b.getI64Type());
    Value wide = vector::BitCastOp::create(b, i64s, sum), other = vector::BitCastOp::create(b, i64s, y);
    Value count = math::CtPopOp::create(b, arith::XOrIOp::create(b, wide, other));
    return vector::BitCastOp::create(b, sum.getType(), Value(arith::AddIOp::create(b, wide, count)));
  }

  const ::quanta::TargetLevel &level;
};

} // namespace

void mlir::quanta::buildLimitLowering(OpPassManager &passes, const ::quanta::TargetLevel &level) {
  LoweringOptions lowering;
  lowering.vectorBits = level.vectorBits;
  lowering.afterBufferize = [&level](OpPassManager &pm) { pm.addPass(std::make_unique<EmitLimits>(level)); };
  buildLoweringPipeline(passes, lowering);
}
