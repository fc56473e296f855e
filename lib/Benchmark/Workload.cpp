//===- Workload.cpp - Models that do nothing but what is measured ---------------------------------------------------------===//
#include "Workload.h"
#include "quanta/Codegen/BFloatDot.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include <map>
#include <random>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::CompiledModel;
using ::quanta::DType;
using ::quanta::userError;

/// From −1/2 to 1/2.
static float nextFloat(std::minstd_rand &random) { return static_cast<float>(random() >> 8 & 0xffff) / 65536 - 0.5f; }

//===- Running ------------------------------------------------------------------------------------------------------------===//

llvm::Expected<std::unique_ptr<Workload>> Workload::compile(ModuleOp module, const LibraryOptions &library, ArrayRef<int> threads) {
  llvm::SmallString<128> path;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("quanta-bench", "so", path))
    return userError("no temporary file: " + error.message());
  llvm::FileRemover remover(path); // what is loaded stays
  if (llvm::Error error = compileToLibrary(module, path, library))
    return std::move(error);
  auto workload = std::make_unique<Workload>();
  for (int count : threads) {
    CompiledModel::Options options;
    options.threads = count;
    auto model = CompiledModel::load(path, options);
    if (!model)
      return model.takeError();
    workload->instances.push_back(std::move(*model));
  }
  std::minstd_rand random(1);
  for (const ::quanta::Port &port : workload->instances.front()->getInputs()) {
    int64_t count = 1;
    for (int64_t size : port.shape)
      count *= size;
    std::vector<float> values(count);
    for (float &value : values)
      value = nextFloat(random);
    workload->inputs[port.name] = Array::copyOf<float>(DType::F32, port.shape, values);
  }
  return workload;
}

llvm::Expected<double> Workload::run(size_t instance) {
  double seconds = 0;
  if (auto outputs = instances[instance]->run(inputs, &seconds); !outputs)
    return outputs.takeError();
  return seconds;
}

void Workload::setInputs(float value) {
  for (auto &[name, array] : inputs)
    array = Array::copyOf<float>(DType::F32, array.getShape(), std::vector<float>(array.getElementCount(), value));
}

//===- Weights ------------------------------------------------------------------------------------------------------------===//

ElementsAttr RandomWeights::createArray(RankedTensorType type, unsigned levels) {
  constexpr size_t kStep = 64; // windows stay aligned
  constexpr size_t kWindows = 4096;
  Type element = type.getElementType();
  unsigned bytes = element.getIntOrFloatBitWidth() / 8;
  size_t size = type.getNumElements() * bytes;
  // Random bytes of which any number of different constants are windows: a model of many weights needs the memory of one.
  // They live as long as the process, like the constants.
  static std::map<std::pair<unsigned, size_t>, std::vector<char>> sources;
  std::vector<char> &source = sources[{isa<FloatType>(element) ? bytes << 16 : levels, size}];
  if (source.empty()) {
    std::minstd_rand random(levels + 1);
    source.resize(size + kWindows * kStep);
    auto fill = [&](auto next) {
      auto *values = reinterpret_cast<decltype(next()) *>(source.data());
      std::generate_n(values, source.size() / sizeof *values, next);
    };
    if (element.isF32())
      fill([&] { return 0.01f * nextFloat(random); });
    else if (element.isF16())
      fill([&] { return static_cast<uint16_t>(0x2000 + (random() >> 8) % 0x400); }); // 2⁻⁷ to 2⁻⁶
    else
      fill([&] { return static_cast<uint8_t>((random() >> 8) % (levels ? levels : 256)); });
  }
  ArrayRef<char> window = ArrayRef(source).slice(count++ % kWindows * kStep, size);
  auto blob = UnmanagedAsmResourceBlob::allocateWithAlign(window, /*align=*/kStep);
  return DenseResourceElementsAttr::get(type, "random", std::move(blob));
}

Attribute RandomWeights::create(RankedTensorType type) {
  EncodingAttrInterface encoding = getEncoding(type);
  if (!encoding)
    return createArray(type, 0);
  unsigned levels = 2;
  if (auto uniform = dyn_cast<UniformAttr>(Attribute(encoding)))
    levels = uniform.getLevels() ? uniform.getLevels() : 1u << uniform.getBits();
  NamedAttrList components;
  for (const Component &component : encoding.getComponents(type.getShape()))
    components.set(component.name, createArray(RankedTensorType::get(component.shape, component.elementType), levels));
  return components.getDictionary(builder.getContext());
}

//===- Layers -------------------------------------------------------------------------------------------------------------===//

static RankedTensorType getWeightType(MLIRContext &context, const BenchmarkRow &row) {
  Attribute encoding = row.encoding.empty() ? Attribute() : parseAttribute(row.encoding, &context);
  return RankedTensorType::get({row.n, row.k}, Float32Type::get(&context), encoding);
}

llvm::Expected<int64_t> mlir::quanta::getWeightBytes(MLIRContext &context, const BenchmarkRow &row) {
  RankedTensorType type = getWeightType(context, row);
  auto encoding = getEncoding(type);
  if (!row.encoding.empty() && !encoding)
    return userError("'" + row.encoding + "' is not an encoding");
  int64_t bytes = 0;
  for (const Component &component : PackedAttr::get(&context, encoding, 16).getComponents(type.getShape()))
    bytes += ShapedType::getNumElements(component.shape) * component.elementType.getIntOrFloatBitWidth() / 8;
  return bytes;
}

namespace {
/// A module with a function `main`, which the lowering expects.
class ModelBuilder {
public:
  ModelBuilder(MLIRContext &context, TypeRange inputs, TypeRange outputs)
      : module(ModuleOp::create(UnknownLoc::get(&context))), b(module->getLoc(), module->getBodyRegion()) {
    main = func::FuncOp::create(b, "main", b.getFunctionType(inputs, outputs));
    auto names = [&](StringRef prefix, size_t count) {
      SmallVector<Attribute> result;
      for (size_t i = 0; i < count; ++i)
        result.push_back(b.getStringAttr(prefix + Twine(i)));
      return b.getArrayAttr(result);
    };
    main->setAttr("quanta.inputs", names("x", inputs.size()));
    main->setAttr("quanta.outputs", names("y", outputs.size()));
    b.setInsertionPointToStart(main.addEntryBlock());
  }
  OwningOpRef<ModuleOp> finish(ValueRange results) {
    func::ReturnOp::create(b, results);
    return std::move(module);
  }

  OwningOpRef<ModuleOp> module;
  ImplicitLocOpBuilder b;
  func::FuncOp main;
};
} // namespace

/// −1 or 1, element by element.
static Value createSign(ImplicitLocOpBuilder &b, Value x) {
  auto type = cast<RankedTensorType>(x.getType());
  SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  Value empty = tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
  auto op = linalg::GenericOp::create(b, TypeRange{type}, ValueRange{x}, ValueRange{empty}, maps, iterators,
                                      [](OpBuilder &builder, Location loc, ValueRange args) {
                                        auto number = [&](float value) { return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value)); };
                                        Value positive = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGE, args[0], number(0));
                                        Value sign = arith::SelectOp::create(builder, loc, positive, number(1), number(-1));
                                        linalg::YieldOp::create(builder, loc, sign);
                                      });
  return op.getResult(0);
}

OwningOpRef<ModuleOp> mlir::quanta::buildLayers(MLIRContext &context, const BenchmarkRow &row, int64_t layers) {
  Type f32 = Float32Type::get(&context);
  // Inputs of their own keep equal work from being done once.
  SmallVector<Type> inputs(layers, RankedTensorType::get({row.m, row.k}, f32)), outputs(layers, RankedTensorType::get({row.m, row.n}, f32));
  ModelBuilder model(context, inputs, outputs);
  RandomWeights random(context);
  RankedTensorType type = getWeightType(context, row);
  SmallVector<Value> results;
  for (int64_t i = 0; i < layers; ++i) {
    Attribute value = random.create(type);
    Value weight, x = model.main.getArgument(i);
    if (auto components = dyn_cast<DictionaryAttr>(value))
      weight = ConstantOp::create(model.b, type, components);
    else
      weight = arith::ConstantOp::create(model.b, cast<ElementsAttr>(value));
    if (row.activation == "int8-token") {
      auto encoding = UniformAttr::get(&context, 8, UniformAttr::kRow, ZeroKind::Symmetric, f32, 0);
      x = QuantizeOp::create(model.b, RankedTensorType::get({row.m, row.k}, f32, encoding), x);
    }
    if (row.activation == "bf16")
      x = QuantizeOp::create(model.b, RankedTensorType::get({row.m, row.k}, f32, NarrowAttr::get(&context, BFloat16Type::get(&context))), x);
    if (row.activation == "sign")
      x = createSign(model.b, x);
    results.push_back(LinearOp::create(model.b, outputs[i], x, weight, Value()));
  }
  return model.finish(results);
}

/// Kernels of these families are written by the pass of buildLimitLowering.
static OwningOpRef<ModuleOp> buildKernels(MLIRContext &context, StringRef family, int64_t count, RankedTensorType output,
                                          RankedTensorType array, TypeRange inputs = {}) {
  ModelBuilder model(context, inputs, SmallVector<Type>(count, output));
  RandomWeights random(context);
  SmallVector<Value> results;
  for (int64_t i = 0; i < count; ++i) {
    auto memref = MemRefType::get(array.getShape(), array.getElementType());
    std::string name = "data" + std::to_string(i);
    {
      OpBuilder atEnd = OpBuilder::atBlockEnd(model.module->getBody());
      WeightsOp::create(atEnd, model.b.getLoc(), name, memref, random.createArray(array, 0), Attribute());
    }
    Value data = WeightOp::create(model.b, memref, name);
    Value empty = tensor::EmptyOp::create(model.b, output.getShape(), output.getElementType());
    results.push_back(KernelOp::create(model.b, TypeRange{output}, model.b.getStringAttr(family),
                                       model.main.getArguments(), ValueRange{data},
                                       ValueRange{empty}, model.b.getDictionaryAttr({}))
                          .getResult(0));
  }
  return model.finish(results);
}

static constexpr int64_t kTasks = 16; ///< equal shares for 1, 2, 4, 8 or 16 threads

ArrayRef<ReadWay> mlir::quanta::getReadWays() {
  static const ReadWay ways[] = {{1, 0}, {2, 0}, {4, 0}, {8, 0}, {8, 32}, {8, 128}};
  return ways;
}

OwningOpRef<ModuleOp> mlir::quanta::buildRead(MLIRContext &context, int64_t layers, int64_t &bytes) {
  constexpr int64_t kMostStreams = 8;
  // An odd number of lines for each of the most streams: distances of a power of two would want the same few places of every cache.
  int64_t lines = kMostStreams * (std::max<int64_t>(1, bytes / (kTasks * kMostStreams * 64)) - 1 | 1);
  bytes = kTasks * lines * 64;
  Type i32 = IntegerType::get(&context, 32);
  return buildKernels(context, "read", layers, RankedTensorType::get({kTasks, 16}, i32), RankedTensorType::get({kTasks, lines, 16}, i32),
                      RankedTensorType::get({1}, Float32Type::get(&context)));
}

/// Steps of a task of a peak's kernel, and sums that grow in each.
static constexpr int64_t kPeakSteps = 4096;

OwningOpRef<ModuleOp> mlir::quanta::buildPeak(MLIRContext &context, Peak peak, const ::quanta::TargetLevel &level, double &operations) {
  struct Kind {
    StringRef family;
    double operations; ///< of an instruction
  };
  static const Kind kinds[] = {{"peak-float", 2 * 16}, {"peak-integer", 2 * 64}, {"peak-popcount", 2 * 512}, {"peak-matrix", 2 * 16 * 16 * 64},
                               {"peak-bfloat", 2 * 32}, {"peak-bfloat-matrix", 2 * 16 * 16 * 32}};
  const auto &[family, perInstruction] = kinds[static_cast<int>(peak)];
  RegisterTile registers = RegisterTile::get(level.vectorBits, level.vectorRegisters);
  double perStep = (peak == Peak::BFloat && !multipliesBFloats(level) ? kinds[0].operations : perInstruction) * (peak == Peak::Matrix || peak == Peak::BFloatMatrix ? 4 : registers.rows * registers.tiles);
  operations = perStep * kPeakSteps * kTasks;
  Type element = llvm::is_contained({Peak::Float, Peak::BFloat, Peak::BFloatMatrix}, peak) ? Type(Float32Type::get(&context)) : Type(IntegerType::get(&context, 32));
  return buildKernels(context, family, 1, RankedTensorType::get({kTasks, 16}, element), RankedTensorType::get({64, 16}, element));
}
