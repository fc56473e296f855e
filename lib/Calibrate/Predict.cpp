//===- Predict.cpp - What a calibration would take ------------------------------------------------------------------------===//
#include "LayerShape.h"
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Error.h"
#include <chrono>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::CalibrationData;
using ::quanta::MatrixView;
using ::quanta::MomentSums;
using ::quanta::userError;

namespace {
template <typename Fn> double timeOf(Fn fn) {
  auto start = std::chrono::steady_clock::now();
  fn();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Products a second of rows with themselves.
double measureMoments(const LayerShape &shape) {
  std::vector<float> rows(static_cast<size_t>(MomentSums::kMomentChunk * shape.channels * shape.blocks), 0.5f);
  MomentSums sums(shape.channels, shape.blocks, /*cross=*/false);
  double seconds = timeOf([&] {
    sums.add({rows.data(), MomentSums::kMomentChunk, shape.channels * shape.blocks}, std::nullopt, false);
  });
  return static_cast<double>(MomentSums::kMomentChunk * shape.channels) * static_cast<double>(shape.channels * shape.blocks) / seconds;
}

std::string describeBytes(double bytes) {
  return bytes < 1e9 ? llvm::formatv("{0:F1} MB", bytes / 1e6) : llvm::formatv("{0:F1} GB", bytes / 1e9);
}

struct Totals {
  double cutBytes = 0;    ///< of a batch, at the largest two neighbouring cuts
  double momentBytes = 0; ///< of the largest stage
  double rowProducts = 0; ///< of a batch
  std::optional<LayerShape> largest;
};

/// Layers of a stage, a line each; adds what they take.
llvm::Error describeStage(const StageGraph &graph, ArrayRef<int64_t> numbers, const Array *input, bool sequential,
                          Totals &totals, llvm::raw_ostream &os) {
  SmallVector<LayerShape> shapes;
  double bytes = 0;
  for (int64_t number : numbers) {
    Operation *layer = graph.getLayer(number);
    os << "  " << getLayerName(layer) << ": " << layer->getOperand(1).getType() << "\n";
    LayerShape shape(layer);
    if (llvm::is_contained(shapes, shape))
      continue;
    shapes.push_back(shape);
    if (!totals.largest || totals.largest->getMomentBytes(sequential) < shape.getMomentBytes(sequential))
      totals.largest = shape;
    bytes += static_cast<double>(shape.getMomentBytes(sequential));
    if (!input)
      continue;
    auto floats = input->convertTo(::quanta::DType::F32);
    if (!floats)
      return floats.takeError();
    std::vector<float> storage;
    auto rows = ::quanta::getLayerRows(*floats, shape.window, 0, 1, 1, storage);
    if (!rows)
      return rows.takeError();
    totals.rowProducts += static_cast<double>(rows->rows() * shape.channels) * static_cast<double>(shape.channels * shape.blocks);
  }
  totals.momentBytes = std::max(totals.momentBytes, bytes);
  return llvm::Error::success();
}
} // namespace

llvm::Error mlir::quanta::predict(ModuleOp module, const CalibratorOptions &options, GraphRunner &runner, llvm::raw_ostream &os) {
  auto stages = findStages(module);
  if (!stages)
    return stages.takeError();
  os << stages->size() << " stages\n";
  if (stages->empty())
    return llvm::Error::success();
  auto ports = getInputPorts(module.lookupSymbol<func::FuncOp>("main"));
  if (!ports)
    return ports.takeError();
  auto data = CalibrationData::open(options.data, options.sampling, *ports);
  if (!data)
    return data.takeError();
  auto graph = StageGraph::create(module, *stages);
  if (!graph)
    return graph.takeError();
  auto whole = graph->extractAll();
  if (!whole)
    return whole.takeError();
  llvm::Expected<std::unique_ptr<RunnableGraph>> runnable(nullptr);
  runnable = runner.prepare(*whole->module);
  if (!runnable)
    return runnable.takeError();

  // One batch is run; the others are only looked at.
  auto first = data->next();
  if (!first)
    return first.takeError();
  CalibrationBatch batch = std::move(**first);
  int64_t batches = 1, samples = batch.samples;
  while (true) {
    auto next = data->next();
    if (!next)
      return next.takeError();
    if (!*next)
      break;
    ++batches;
    samples += (*next)->samples;
  }
  llvm::Expected<ArrayMap> outputs(ArrayMap{});
  double seconds = 0;
  for (int i = 0; i < 2; ++i) { // the first run also gets memory
    seconds = timeOf([&] { outputs = (*runnable)->run(batch.arrays); });
    if (!outputs)
      return outputs.takeError();
  }
  DenseMap<Value, const Array *> arrays;
  for (auto [i, value] : llvm::enumerate(graph->getAllLive()))
    arrays[value] = &(*outputs)["value" + std::to_string(i)];

  Totals totals;
  double before = 0;
  for (auto [stage, numbers] : llvm::enumerate(*stages)) {
    const Cut &cut = graph->getCut(stage);
    double bytes = 0;
    for (Value value : cut.live)
      bytes += static_cast<double>(arrays[value]->getByteSize());
    bool last = stage + 1 == stages->size();
    totals.cutBytes = std::max(totals.cutBytes, (last ? 0 : bytes) + before);
    before = bytes;
    os << "stage " << stage + 1 << ": " << describeBytes(bytes) << " live for a batch\n";
    if (llvm::Error error = describeStage(*graph, numbers, arrays[cut.input], options.sequential, totals, os))
      return error;
  }
  double streams = options.sequential ? 2 : 1, count = static_cast<double>(batches);
  double rate = measureMoments(*totals.largest);
  double momentSeconds = totals.rowProducts * count * (options.sequential ? 3 : 1) / rate;
  // Each part of the model is compiled by itself; the middle one stands for all.
  auto part = graph->extract(stages->size() / 2, /*keepOutputs=*/true);
  if (!part)
    return part.takeError();
  double compileSeconds = timeOf([&] { runnable = runner.prepare(*part->module); }) * static_cast<double>(stages->size()) * streams;
  if (!runnable)
    return runnable.takeError();
  os << samples << " samples in " << batches << " batches\n"
     << "memory: " << describeBytes(totals.momentBytes) << " for moments, and a batch's activations\n"
     << "disk: " << describeBytes(totals.cutBytes * count * streams) << "\n"
     << llvm::formatv("time without the solvers': {0:F0} s ({1:F0} s to run, {2:F0} s for moments, {3:F0} s to compile)\n",
                      seconds * count * streams + momentSeconds + compileSeconds, seconds * count * streams, momentSeconds,
                      compileSeconds);
  return llvm::Error::success();
}
