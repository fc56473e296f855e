//===- Workload.h - Models that do nothing but what is measured -------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_BENCHMARK_WORKLOAD_H
#define QUANTA_LIB_BENCHMARK_WORKLOAD_H

#include "quanta/Benchmark/Benchmark.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Support/CompiledModel.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::quanta {

/// A compiled model with an instance for each number of threads, and inputs for it.
class Workload {
public:
  static llvm::Expected<std::unique_ptr<Workload>> compile(ModuleOp module, const LibraryOptions &library, ArrayRef<int> threads);
  /// Seconds of one run with the i-th number of threads.
  llvm::Expected<double> run(size_t instance);
  /// Fills all inputs, random values until then.
  void setInputs(float value);

private:
  std::vector<std::unique_ptr<::quanta::CompiledModel>> instances;
  ::quanta::ArrayMap inputs;
};

/// Random constants, each different from all others made by the same object.
class RandomWeights {
public:
  explicit RandomWeights(MLIRContext &context) : builder(&context) {}
  /// Of a type with or without an encoding.
  Attribute create(RankedTensorType type);
  /// A plain array or one component of an encoding; integers are below `levels` (0: any bytes).
  ElementsAttr createArray(RankedTensorType type, unsigned levels);

private:
  Builder builder;
  int64_t count = 0;
};

/// `layers` independent linear layers as the row describes them. `bytes` gets the stored bytes of one weight.
OwningOpRef<ModuleOp> buildLayers(MLIRContext &context, const BenchmarkRow &row, int64_t layers);
/// Stored bytes of a row's weight, with padding.
llvm::Expected<int64_t> getWeightBytes(MLIRContext &context, const BenchmarkRow &row);

/// A way to read memory: how many streams a thread walks in turn, and how many lines ahead it asks for them (0: never).
struct ReadWay {
  int64_t streams, ahead;
};
/// Which way is the fastest depends on the processor and on where the data lie, so that a limit is the best of them.
ArrayRef<ReadWay> getReadWays();
/// Reads `layers` arrays of about `bytes` bytes, whose exact size `bytes` gets, in the way whose number is the model's input.
OwningOpRef<ModuleOp> buildRead(MLIRContext &context, int64_t layers, int64_t &bytes);
/// As many operations of a kind as a core can do without memory; `operations` gets their number.
OwningOpRef<ModuleOp> buildPeak(MLIRContext &context, Peak peak, const ::quanta::TargetLevel &level, double &operations);
/// The phase `lower` for these modules.
void buildLimitLowering(OpPassManager &passes, const ::quanta::TargetLevel &level);

} // namespace mlir::quanta

#endif
