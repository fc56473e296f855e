//===- Calibrator.cpp - Runs data through a model, layer by layer ---------------------------------------------------------===//
#include "quanta/Calibrate/Calibrator.h"
#include "LayerShape.h"
#include "StageResult.h"
#include "quanta/Calibrate/RunFolder.h"
#include "quanta/Calibrate/StageGraph.h"
#include "quanta/Support/Error.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/xxhash.h"
#include <chrono>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;
using ::quanta::CalibrationBatch;
using ::quanta::CalibrationData;
using ::quanta::LayerMoments;
using ::quanta::MatrixView;
using ::quanta::MomentSums;
using ::quanta::RunFolder;
using ::quanta::userError;

// Every eighth sample is kept for scoring.
static constexpr int64_t kHeldOutEvery = 8;

static constexpr StringLiteral kSelected = "quanta.selected", kStatistics = "quanta.statistics";

//===- Fingerprint --------------------------------------------------------------------------------------------------------===//

std::string mlir::quanta::fingerprintModule(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os, OpPrintingFlags().elideLargeResourceString(0).elideLargeElementsAttrs(16).useLocalScope());
  DenseSet<Attribute> seen;
  module.walk([&](Operation *op) {
    op->getAttrDictionary().walk([&](ElementsAttr attr) {
      if (!seen.insert(attr).second)
        return;
      ArrayRef<char> bytes;
      if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
        if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
          bytes = blob->getData();
      } else if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
        bytes = dense.getRawData();
      }
      os << llvm::xxh3_64bits(ArrayRef(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size())) << ",";
    });
  });
  return text;
}

//===- The float model ----------------------------------------------------------------------------------------------------===//

namespace {
/// A clone of the module that keeps the layers' weights when the solvers free those of the module. The bytes are shared.
class FloatModel {
public:
  FloatModel(ModuleOp module) : clone(module.clone()) {
    clone->walk([&](Operation *op) {
      if (op->hasAttr(kLayerNumber))
        keep(op->getOperand(1).getDefiningOp<arith::ConstantOp>());
    });
  }
  ~FloatModel() {
    clone = {};
    for (DenseResourceElementsAttr resource : kept)
      *resource.getRawHandle().getBlob() = AsmResourceBlob();
  }
  ModuleOp get() { return *clone; }

private:
  void keep(arith::ConstantOp constant) {
    auto resource = constant ? dyn_cast<DenseResourceElementsAttr>(constant.getValue()) : DenseResourceElementsAttr();
    AsmResourceBlob *blob = resource ? resource.getRawHandle().getBlob() : nullptr;
    if (!blob || llvm::is_contained(kept, resource))
      return;
    // Both names get a view; the bytes go with the last of them.
    auto owner = std::make_shared<AsmResourceBlob>(std::move(*blob));
    auto view = [&] {
      return AsmResourceBlob(owner->getData(), owner->getDataAlignment(), [owner](void *, size_t, size_t) {},
                             owner->isMutable());
    };
    *blob = view();
    auto other = DenseResourceElementsAttr::get(resource.getType(), (resource.getRawHandle().getKey() + ".float").str(), view());
    constant.setValueAttr(other);
    kept.push_back(other);
  }

  OwningOpRef<ModuleOp> clone;
  SmallVector<DenseResourceElementsAttr> kept;
};

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string describeSeconds(double seconds) {
  if (seconds < 100)
    return llvm::formatv("{0:F1} s", seconds);
  return llvm::formatv("{0} min {1} s", static_cast<int64_t>(seconds) / 60, static_cast<int64_t>(seconds) % 60);
}

//===- Progress -----------------------------------------------------------------------------------------------------------===//

/// A line for each stage; on a terminal also one that is written over while a stage runs.
class Progress {
public:
  Progress(llvm::raw_ostream &os, size_t stages) : os(os), stages(stages), terminal(os.is_displayed()) {}

  void startStage(size_t stage) {
    current = stage;
    stageStart = lastPrint = std::chrono::steady_clock::now();
  }
  void batchDone(int64_t samples) {
    if (!terminal || secondsSince(lastPrint) < 0.2)
      return;
    lastPrint = std::chrono::steady_clock::now();
    os << llvm::formatv("\rcalibrate: stage {0}/{1}, {2} samples, {3:F1} a second\x1b[K", current + 1, stages, samples,
                        static_cast<double>(samples) / secondsSince(stageStart));
    os.flush();
  }
  void stageDone(StringRef layers, double run, double solve) {
    ++done;
    double left = secondsSince(start) / static_cast<double>(done) * static_cast<double>(stages - current - 1);
    os << (terminal ? "\r\x1b[K" : "")
       << llvm::formatv("calibrate: stage {0}/{1}: {2}: {3} to run, {4} to solve; about {5} left\n", current + 1, stages, layers,
                        describeSeconds(run), describeSeconds(solve), describeSeconds(left));
  }

private:
  llvm::raw_ostream &os;
  size_t stages, current = 0, done = 0;
  bool terminal;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now(), stageStart = start, lastPrint = start;
};

//===- Streams ------------------------------------------------------------------------------------------------------------===//

/// The part of a model in front of a stage, ready to run on batches; values at its cuts are files.
class StageRun {
public:
  /// `readFrom`, `writeTo`: parts of the folder, or empty.
  static llvm::Expected<StageRun> create(ModuleOp module, const LayerStages &stages, size_t stage, GraphRunner &runner,
                                         const RunFolder &folder, std::string readFrom, std::string writeTo) {
    auto graph = StageGraph::create(module, stages);
    if (!graph)
      return graph.takeError();
    auto part = graph->extract(stage, !writeTo.empty());
    if (!part)
      return part.takeError();
    auto runnable = runner.prepare(*part->module);
    if (!runnable)
      return runnable.takeError();
    return StageRun{std::move(*runnable), &folder, std::move(readFrom), std::move(writeTo), part->keptInputs, part->keptOutputs};
  }

  /// What the layers read.
  llvm::Expected<Array> run(const CalibrationBatch &batch) {
    ArrayMap inputs = batch.arrays;
    for (int64_t i = 0; i < keptInputs; ++i) {
      auto array = ::quanta::readNpy(getFile(readFrom, batch.number, i));
      if (!array)
        return array.takeError();
      inputs["value" + std::to_string(i)] = std::move(*array);
    }
    auto outputs = graph->run(inputs);
    if (!outputs)
      return userError("batch " + Twine(batch.number) + ": " + llvm::toString(outputs.takeError()));
    for (int64_t i = 0; i < keptOutputs; ++i)
      if (llvm::Error error = ::quanta::writeNpy(getFile(writeTo, batch.number, i), (*outputs)["value" + std::to_string(i)]))
        return std::move(error);
    return (*outputs)["input"].convertTo(::quanta::DType::F32);
  }

private:
  StageRun(std::unique_ptr<RunnableGraph> graph, const RunFolder *folder, std::string readFrom, std::string writeTo,
           int64_t keptInputs, int64_t keptOutputs)
      : graph(std::move(graph)), folder(folder), readFrom(std::move(readFrom)), writeTo(std::move(writeTo)),
        keptInputs(keptInputs), keptOutputs(keptOutputs) {}
  std::string getFile(StringRef part, int64_t batch, int64_t value) const {
    return folder->getPath(part + "/" + Twine(batch) + "-" + Twine(value) + ".npy");
  }

  std::unique_ptr<RunnableGraph> graph;
  const RunFolder *folder;
  std::string readFrom, writeTo;
  int64_t keptInputs, keptOutputs;
};

/// Moments that some layers of a stage share.
struct MomentTask {
  LayerShape shape;
  SmallVector<int64_t> layers;
  std::string file;
  std::unique_ptr<MomentSums> sums;
};

//===- The calibrator -----------------------------------------------------------------------------------------------------===//

class Calibrator {
public:
  Calibrator(ModuleOp module, const CalibratorOptions &options, GraphRunner &runner, llvm::function_ref<LogicalResult()> solve,
             llvm::raw_ostream &log)
      : module(module), options(options), runner(runner), solve(solve), log(log) {}

  llvm::Error prepare();
  llvm::Expected<LogicalResult> run();

private:
  Operation *getLayer(int64_t number) { return layers[static_cast<size_t>(number)]; }
  llvm::Error findLayers();
  llvm::Expected<size_t> restore();
  llvm::Error runStage(size_t stage, MutableArrayRef<MomentTask> tasks);
  llvm::Error addBatch(const CalibrationBatch &batch, const Array &input, const std::optional<Array> &reference,
                       MutableArrayRef<MomentTask> tasks);
  llvm::Error takeMoments(size_t stage, MutableArrayRef<MomentTask> tasks);
  llvm::Expected<LogicalResult> solveStage(size_t stage, ArrayRef<MomentTask> tasks);
  SmallVector<MomentTask> makeTasks(size_t stage);

  /// Streams part ways at the first layer: until then both are the float model.
  bool isForked(size_t stage) const { return options.sequential && stage > 0; }
  std::string getCut(size_t stage, bool isFloat) const {
    return ("cut-" + Twine(stage) + (isForked(stage) ? isFloat ? "-float" : "-quantized" : "")).str();
  }
  bool isCutComplete(size_t stage) const {
    return folder->isComplete(getCut(stage, false)) && folder->isComplete(getCut(stage, true));
  }
  std::string getResult(size_t stage) const { return folder->getPath("stage-" + Twine(stage) + ".mlirbc"); }
  std::string describeStage(size_t stage);

  ModuleOp module;
  const CalibratorOptions &options;
  GraphRunner &runner;
  llvm::function_ref<LogicalResult()> solve;
  llvm::raw_ostream &log;
  LayerStages stages;
  std::vector<Operation *> layers; ///< of the module, by number
  std::optional<FloatModel> floats;
  std::optional<CalibrationData> data;
  std::unique_ptr<RunFolder> folder;
  std::optional<Progress> progress;
};
} // namespace

llvm::Error Calibrator::prepare() {
  auto found = findStages(module);
  if (!found)
    return found.takeError();
  stages = std::move(*found);
  if (options.data.empty())
    return userError("no calibration data; give an .npz file, a folder of them or an .npy token stream (--calib=FILE)");
  auto ports = getInputPorts(module.lookupSymbol<func::FuncOp>("main"));
  if (!ports)
    return ports.takeError();
  auto opened = CalibrationData::open(options.data, options.sampling, *ports);
  if (!opened)
    return opened.takeError();
  data = std::move(*opened);
  return findLayers();
}

llvm::Error Calibrator::findLayers() {
  auto graph = StageGraph::create(module, stages);
  if (!graph)
    return graph.takeError();
  layers.clear();
  for (const auto &numbers : stages)
    for (int64_t number : numbers) {
      layers.resize(std::max(layers.size(), static_cast<size_t>(number + 1)));
      layers[static_cast<size_t>(number)] = graph->getLayer(number);
    }
  return llvm::Error::success();
}

std::string Calibrator::describeStage(size_t stage) {
  return llvm::join(llvm::map_range(stages[stage], [&](int64_t number) { return getLayerName(getLayer(number)); }), ", ");
}

//===- One stage ----------------------------------------------------------------------------------------------------------===//

SmallVector<MomentTask> Calibrator::makeTasks(size_t stage) {
  SmallVector<MomentTask> tasks;
  for (int64_t number : stages[stage]) {
    if (getEncoding(getLayer(number)->getOperand(1).getType()))
      continue; // shares its weight with a layer that was solved before
    LayerShape shape(getLayer(number));
    auto *task = llvm::find_if(tasks, [&](const MomentTask &t) { return t.shape == shape; });
    if (task == tasks.end()) {
      tasks.push_back({shape, {}, folder->getPath("moments-" + Twine(number) + ".qmom"), nullptr});
      task = &tasks.back();
    }
    task->layers.push_back(number);
  }
  return tasks;
}

llvm::Error Calibrator::addBatch(const CalibrationBatch &batch, const Array &input, const std::optional<Array> &reference,
                                 MutableArrayRef<MomentTask> tasks) {
  std::vector<float> storage, referenceStorage;
  for (MomentTask &task : tasks) {
    for (int64_t i = 0; i < batch.samples; ++i) {
      auto rows = ::quanta::getLayerRows(input, task.shape.window, i, i + 1, batch.samples, storage);
      if (!rows)
        return rows.takeError();
      std::optional<MatrixView> referenceRows;
      if (reference) {
        auto other = ::quanta::getLayerRows(*reference, task.shape.window, i, i + 1, batch.samples, referenceStorage);
        if (!other)
          return other.takeError();
        referenceRows = *other;
      }
      task.sums->add(*rows, referenceRows, (batch.firstSample + i) % kHeldOutEvery == kHeldOutEvery - 1);
    }
    if (!task.sums->isFinite())
      return userError("batch " + Twine(batch.number) + ": the input of layer '" + getLayerName(getLayer(task.layers[0])) +
                       "' holds an infinity or NaN; remove the sample or mend the model");
  }
  return llvm::Error::success();
}

/// Runs the data from the cut before to this stage. Without tasks only the values at the cut are wanted.
llvm::Error Calibrator::runStage(size_t stage, MutableArrayRef<MomentTask> tasks) {
  bool forked = isForked(stage), last = stage + 1 == stages.size();
  SmallVector<StageRun, 2> runs;
  for (bool isFloat : {false, true}) {
    if (isFloat && !forked)
      continue;
    ModuleOp graph = options.sequential && !isFloat ? module : floats->get();
    std::string from = stage ? getCut(stage - 1, isFloat) : "", to = last ? "" : getCut(stage, isFloat);
    if (!to.empty())
      if (llvm::Error error = folder->startPart(to))
        return error;
    auto run = StageRun::create(graph, stages, stage, runner, *folder, from, to);
    if (!run)
      return run.takeError();
    runs.push_back(std::move(*run));
  }
  data->seek(0);
  while (true) {
    auto batch = data->next();
    if (!batch)
      return batch.takeError();
    if (!*batch)
      break;
    auto input = runs[0].run(**batch);
    if (!input)
      return input.takeError();
    std::optional<Array> reference;
    if (forked) {
      auto other = runs[1].run(**batch);
      if (!other)
        return other.takeError();
      reference = std::move(*other);
    }
    if (llvm::Error error = addBatch(**batch, *input, reference, tasks))
      return error;
    progress->batchDone((*batch)->firstSample + (*batch)->samples);
  }
  if (last)
    return llvm::Error::success();
  if (forked)
    if (llvm::Error error = folder->completePart(getCut(stage, true)))
      return error;
  return folder->completePart(getCut(stage, false));
}

/// Runs the stage if its moments are not there yet, and whatever that needs.
llvm::Error Calibrator::takeMoments(size_t stage, MutableArrayRef<MomentTask> tasks) {
  bool last = stage + 1 == stages.size();
  if ((last || isCutComplete(stage)) &&
      llvm::all_of(tasks, [&](const MomentTask &task) { return llvm::sys::fs::exists(task.file); }))
    return llvm::Error::success();
  // Values at the cut before are there, unless someone has removed them.
  size_t first = stage;
  while (first > 0 && !isCutComplete(first - 1))
    --first;
  for (; first < stage; ++first) {
    if (llvm::Error error = runStage(first, {}))
      return error;
    if (first)
      for (bool isFloat : {false, true})
        folder->removePart(getCut(first - 1, isFloat));
  }
  for (MomentTask &task : tasks)
    task.sums = std::make_unique<MomentSums>(task.shape.channels, task.shape.blocks, options.sequential);
  if (llvm::Error error = runStage(stage, tasks))
    return error;
  for (MomentTask &task : tasks) {
    LayerMoments moments = task.sums->finish();
    task.sums.reset();
    if (llvm::Error error = ::quanta::saveMoments(moments, task.file))
      return error;
  }
  if (stage)
    for (bool isFloat : {false, true})
      folder->removePart(getCut(stage - 1, isFloat));
  return llvm::Error::success();
}

/// Ops that solving has put between what the layer reads and the layer.
static void markParts(const LayerRecord &record, Operation *layer) {
  auto number = layer->getAttr(kLayerNumber);
  DenseSet<Value> known;
  for (auto &[operand, constant] : record.operands)
    known.insert(operand);
  SmallVector<Value> worklist(layer->getOperands());
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op || op->hasTrait<OpTrait::ConstantLike>() || !known.insert(value).second)
      continue;
    op->setAttr(kLayerPart, number);
    worklist.append(op->operand_begin(), op->operand_end());
  }
}

llvm::Expected<LogicalResult> Calibrator::solveStage(size_t stage, ArrayRef<MomentTask> tasks) {
  SmallVector<LayerRecord> records;
  DenseSet<Value> weights;
  for (const MomentTask &task : tasks)
    for (int64_t number : task.layers) {
      Operation *layer = getLayer(number);
      records.push_back(LayerRecord(number, layer));
      weights.insert(layer->getOperand(1));
      layer->setAttr(kStatistics, StringAttr::get(module.getContext(), task.file));
    }
  // What acts on all selected layers acts on these only, and on those that have a weight of theirs.
  SmallVector<Operation *> hidden;
  module.walk([&](Operation *op) {
    if (op->hasAttr(kSelected) && !op->hasAttr(kStatistics) && !(op->getNumOperands() > 1 && weights.contains(op->getOperand(1))))
      hidden.push_back(op);
  });
  for (Operation *op : hidden)
    op->removeAttr(kSelected);
  LogicalResult solved = solve();
  if (failed(solved))
    return solved;
  if (llvm::Error error = findLayers())
    return std::move(error);
  for (const LayerRecord &record : records)
    markParts(record, getLayer(record.number));
  for (Operation *op : hidden)
    op->setAttr(kSelected, UnitAttr::get(module.getContext()));
  for (const LayerRecord &record : records) {
    // A solver that gave the layer another input has left a file of its own.
    Attribute statistics = getLayer(record.number)->removeAttr(kStatistics);
    if (auto file = dyn_cast_or_null<StringAttr>(statistics);
        file && llvm::none_of(tasks, [&](const MomentTask &task) { return task.file == file.getValue(); }))
      llvm::sys::fs::remove(file.getValue());
  }
  if (llvm::Error error = saveStageResult(records, [&](int64_t number) { return getLayer(number); }, getResult(stage)))
    return std::move(error);
  for (const MomentTask &task : tasks)
    llvm::sys::fs::remove(task.file);
  return success();
}

//===- All stages ---------------------------------------------------------------------------------------------------------===//

/// Takes over the stages that were solved before; returns their number.
llvm::Expected<size_t> Calibrator::restore() {
  size_t stage = 0;
  for (; stage < stages.size() && llvm::sys::fs::exists(getResult(stage)); ++stage)
    if (llvm::Error error = restoreStageResult(module.getContext(), [&](int64_t number) { return getLayer(number); },
                                               getResult(stage)))
      return std::move(error);
  if (stage)
    log << "calibrate: " << stage << " of " << stages.size() << " stages were solved before\n";
  return stage;
}

llvm::Expected<LogicalResult> Calibrator::run() {
  if (stages.empty())
    return success();
  auto fingerprint = data->getFingerprint();
  if (!fingerprint)
    return fingerprint.takeError();
  std::string model = fingerprintModule(module);
  auto opened = RunFolder::open(options.store,
                                ::quanta::fingerprintOf({"1", model, std::to_string(*fingerprint), options.method,
                                                         options.sequential ? "sequential" : "parallel"}),
                                options.resume);
  if (!opened)
    return opened.takeError();
  folder = std::move(*opened);
  floats.emplace(module);
  auto solved = restore();
  if (!solved)
    return solved.takeError();
  progress.emplace(log, stages.size());
  for (size_t stage = *solved; stage < stages.size(); ++stage) {
    progress->startStage(stage);
    auto start = std::chrono::steady_clock::now();
    SmallVector<MomentTask> tasks = makeTasks(stage);
    if (llvm::Error error = takeMoments(stage, tasks))
      return std::move(error);
    double ran = secondsSince(start);
    auto result = solveStage(stage, tasks);
    if (!result || failed(*result))
      return result;
    progress->stageDone(describeStage(stage), ran, secondsSince(start) - ran);
  }
  for (Operation *layer : layers)
    layer->removeAttr(kLayerNumber);
  module.walk([](Operation *op) { op->removeAttr(kLayerPart); });
  return success();
}

llvm::Expected<LogicalResult> mlir::quanta::calibrate(ModuleOp module, const CalibratorOptions &options, GraphRunner &runner,
                                                      llvm::function_ref<LogicalResult()> solve, llvm::raw_ostream &log) {
  Calibrator calibrator(module, options, runner, solve, log);
  if (llvm::Error error = calibrator.prepare())
    return std::move(error);
  return calibrator.run();
}
