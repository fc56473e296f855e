//===- CalibratorTest.cpp - What the stages see of the data ---------------------------------------------------------------===//
#include "quanta/Calibrate/Calibrator.h"
#include "quanta/Calibrate/Moments.h"
#include "quanta/Calibrate/RunFolder.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Pipelines/Registration.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "gtest/gtest.h"
#include <cmath>
#include <sys/wait.h>
#include <unistd.h>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::DType;
using ::quanta::LayerMoments;

namespace {

const char *kGraph = R"mlir(
func.func @main(%x: tensor<?x2xf32>) -> tensor<?x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
  %w = arith.constant dense<[[1.0, 2.0], [0.5, -1.0]]> : tensor<2x2xf32>
  %v = arith.constant dense<[[1.0, 1.0], [2.0, -1.0]]> : tensor<2x2xf32>
  %a = quanta.linear %x, %w {quanta.selected} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("first")
  %m = arith.mulf %a, %x : tensor<?x2xf32>
  %y = quanta.linear %m, %v {quanta.selected} : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32> loc("second")
  return %y : tensor<?x2xf32>
}
)mlir";

constexpr int64_t kSamples = 20;
float valueOf(int64_t sample, int64_t channel) { return static_cast<float>((sample * 5 + channel * 3) % 7) / 4 - 0.5f; }

/// What the second layer reads, if the first layer's weight was multiplied by `scale`.
std::pair<double, double> secondInput(int64_t sample, double scale) {
  double x = valueOf(sample, 0), y = valueOf(sample, 1);
  return {(x + 2 * y) * scale * x, (0.5 * x - y) * scale * y};
}

struct CalibratorTest : testing::Test {
  CalibratorTest() {
    DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
    EXPECT_FALSE(llvm::sys::fs::createUniqueDirectory("quanta-calibrator", folder));
    std::vector<float> values;
    for (int64_t i = 0; i < 2 * kSamples; ++i)
      values.push_back(valueOf(i / 2, i % 2));
    options.data = (folder + "/data.npz").str();
    llvm::cantFail(::quanta::writeNpz(options.data, {{"x", Array::copyOf<float>(DType::F32, {kSamples, 2}, values)}}));
    options.sampling.batch = 3;
    options.method = "halve";
    parse();
  }
  ~CalibratorTest() override { llvm::sys::fs::remove_directories(folder); }

  void parse(const char *graph = kGraph) { module = parseSourceString<ModuleOp>(graph, &context); }

  /// Keeps the moments of each stage and halves the weights, as if that were an encoding; fails at stage `failAt`.
  LogicalResult calibrate(int failAt = -1) {
    moments.clear();
    std::string log;
    llvm::raw_string_ostream os(log);
    auto solve = [&]() -> LogicalResult {
      if (static_cast<int>(moments.size()) == failAt)
        return failure();
      module->walk([&](LinearOp layer) {
        auto path = layer->getAttrOfType<StringAttr>("quanta.statistics");
        EXPECT_EQ(path != nullptr, layer->hasAttr("quanta.selected"));
        if (!path)
          return;
        moments.push_back(llvm::cantFail(::quanta::loadMoments(path)));
        auto constant = layer.getWeight().getDefiningOp<arith::ConstantOp>();
        auto values = cast<DenseElementsAttr>(constant.getValue()).mapValues(Float32Type::get(&context), [](const APFloat &value) {
          return APFloat(value.convertToFloat() / 2).bitcastToAPInt();
        });
        OpBuilder builder(constant);
        layer.getWeightMutable().assign(arith::ConstantOp::create(builder, constant.getLoc(), values));
        constant.erase();
        layer->removeAttr("quanta.selected");
        layer->setAttr("quanta.note", builder.getStringAttr("halved"));
      });
      return success();
    };
    auto runner = createCompilingGraphRunner(1);
    auto result = mlir::quanta::calibrate(*module, options, *runner, solve, os);
    error = result ? "" : llvm::toString(result.takeError());
    return error.empty() ? *result : failure();
  }

  std::string print() {
    std::string text;
    llvm::raw_string_ostream(text) << *module;
    return text;
  }

  MLIRContext context;
  llvm::SmallString<128> folder;
  CalibratorOptions options;
  OwningOpRef<ModuleOp> module;
  std::vector<LayerMoments> moments;
  std::string error;
};

/// Σ a·bᵀ over samples that are held out or not, divided by their number.
template <typename Fn> std::vector<double> average(bool heldOut, Fn get) {
  std::vector<double> sums(4);
  double count = 0;
  for (int64_t s = 0; s < kSamples; ++s) {
    if ((s % 8 == 7) != heldOut)
      continue;
    auto [a, b] = get(s);
    const double left[] = {a.first, a.second}, right[] = {b.first, b.second};
    for (size_t i = 0; i < 4; ++i)
      sums[i] += left[i / 2] * right[i % 2];
    ++count;
  }
  for (double &sum : sums)
    sum /= count;
  return sums;
}

void expectNear(const std::vector<double> &actual, const std::vector<double> &expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 1e-6) << i;
}

TEST_F(CalibratorTest, SequentialStagesReadTheEncodedPrefix) {
  ASSERT_TRUE(succeeded(calibrate())) << error;
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_EQ(moments[0].fitRows, 18u);
  EXPECT_EQ(moments[0].heldOutRows, 2u);
  auto input = [](int64_t s) { return std::pair<double, double>(valueOf(s, 0), valueOf(s, 1)); };
  for (bool heldOut : {false, true}) {
    expectNear(heldOut ? moments[0].heldOut : moments[0].fit, average(heldOut, [&](int64_t s) { return std::pair(input(s), input(s)); }));
    expectNear(heldOut ? moments[1].heldOut : moments[1].fit,
               average(heldOut, [&](int64_t s) { return std::pair(secondInput(s, 0.5), secondInput(s, 0.5)); }));
  }
  // Nothing is encoded in front of the first stage.
  expectNear(moments[0].cross, moments[0].fit);
  expectNear(moments[1].cross, average(false, [&](int64_t s) { return std::pair(secondInput(s, 1), secondInput(s, 0.5)); }));
}

TEST_F(CalibratorTest, OtherwiseTheFloatModel) {
  options.sequential = false;
  ASSERT_TRUE(succeeded(calibrate())) << error;
  ASSERT_EQ(moments.size(), 2u);
  expectNear(moments[1].fit, average(false, [&](int64_t s) { return std::pair(secondInput(s, 1), secondInput(s, 1)); }));
  EXPECT_TRUE(moments[1].cross.empty());
}

TEST_F(CalibratorTest, ResumesBehindTheLastSolvedStage) {
  ASSERT_TRUE(succeeded(calibrate())) << error;
  std::string expected = print();
  EXPECT_NE(expected.find("halved"), std::string::npos);
  LayerMoments second = moments[1];

  options.store = (folder + "/store").str();
  options.resume = true;
  parse();
  EXPECT_TRUE(failed(calibrate(/*failAt=*/1)));
  EXPECT_EQ(error, ""); // the solver says what is wrong
  parse();
  ASSERT_TRUE(succeeded(calibrate())) << error;
  ASSERT_EQ(moments.size(), 1u);
  EXPECT_EQ(moments[0].fit, second.fit);
  EXPECT_EQ(moments[0].cross, second.cross);
  EXPECT_EQ(print(), expected);

  // All is done, until somebody does not want to resume.
  parse();
  ASSERT_TRUE(succeeded(calibrate())) << error;
  EXPECT_EQ(moments.size(), 0u);
  EXPECT_EQ(print(), expected);
  options.resume = false;
  parse();
  ASSERT_TRUE(succeeded(calibrate())) << error;
  EXPECT_EQ(moments.size(), 2u);

  // Another method is another run.
  options.method = "other";
  options.resume = true;
  parse();
  ASSERT_TRUE(succeeded(calibrate())) << error;
  EXPECT_EQ(moments.size(), 2u);
}

TEST_F(CalibratorTest, RunsAgainWhatIsMissing) {
  ASSERT_TRUE(succeeded(calibrate())) << error;
  LayerMoments second = moments[1];
  options.store = (folder + "/store").str();
  options.resume = true;
  parse();
  EXPECT_TRUE(failed(calibrate(/*failAt=*/1)));
  // Only what was solved is left: the values at the cut have to be made again.
  std::error_code code;
  std::vector<std::string> parts;
  for (llvm::sys::fs::recursive_directory_iterator it(options.store, code), end; it != end && !code; it.increment(code))
    if (StringRef name = llvm::sys::path::filename(it->path()); name.starts_with("cut-") || name.starts_with("moments-"))
      parts.push_back(it->path());
  EXPECT_FALSE(parts.empty());
  for (const std::string &part : parts) {
    llvm::sys::fs::remove_directories(part);
    llvm::sys::fs::remove(part);
  }
  parse();
  ASSERT_TRUE(succeeded(calibrate())) << error;
  ASSERT_EQ(moments.size(), 1u);
  EXPECT_EQ(moments[0].fit, second.fit);
  EXPECT_EQ(moments[0].cross, second.cross);
}

TEST_F(CalibratorTest, PatchesOfGroupedConvolutions) {
  parse(R"mlir(
    func.func @main(%x: tensor<?x4x3x2xf32>) -> tensor<?x2x3x2xf32> attributes {quanta.inputs = ["x"], quanta.outputs = ["y"]} {
      %w = arith.constant dense<1.0> : tensor<2x2x3x1xf32>
      %y = quanta.conv2d %x, %w {quanta.selected, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>,
        pads = array<i64: 1, 0, 1, 0>, groups = 2 : i64} : (tensor<?x4x3x2xf32>, tensor<2x2x3x1xf32>) -> tensor<?x2x3x2xf32>
      return %y : tensor<?x2x3x2xf32>
    })mlir");
  constexpr int64_t samples = 9;
  std::vector<float> values;
  for (int64_t i = 0; i < samples * 4 * 3 * 2; ++i)
    values.push_back(static_cast<float>(i * 7 % 11) / 8 - 0.5f);
  llvm::cantFail(::quanta::writeNpz(options.data, {{"x", Array::copyOf<float>(DType::F32, {samples, 4, 3, 2}, values)}}));
  LayerMoments result;
  std::string log;
  llvm::raw_string_ostream os(log);
  auto runner = createCompilingGraphRunner(1);
  auto solve = [&]() -> LogicalResult {
    module->walk([&](Conv2DOp layer) {
      result = llvm::cantFail(::quanta::loadMoments(layer->getAttrOfType<StringAttr>("quanta.statistics")));
    });
    return success();
  };
  ASSERT_TRUE(succeeded(llvm::cantFail(mlir::quanta::calibrate(*module, options, *runner, solve, os))));
  ASSERT_EQ(result.blocks, 2);
  ASSERT_EQ(result.channels, 6);
  EXPECT_EQ(result.fitRows, 8u * 3 * 2);
  EXPECT_EQ(result.heldOutRows, 3u * 2);
  auto tap = [&](int64_t n, int64_t group, int64_t k, int64_t y, int64_t x) -> double {
    int64_t line = y + k % 3 - 1;
    return line < 0 || line > 2 ? 0 : values[static_cast<size_t>(((n * 4 + group * 2 + k / 3) * 3 + line) * 2 + x)];
  };
  for (int64_t group = 0; group < 2; ++group)
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t j = 0; j < 6; ++j) {
        double sum = 0;
        for (int64_t n = 0; n < samples; ++n)
          for (int64_t pixel = 0; pixel < 6 && n % 8 != 7; ++pixel)
            sum += tap(n, group, i, pixel / 2, pixel % 2) * tap(n, group, j, pixel / 2, pixel % 2);
        EXPECT_NEAR(result.fit[static_cast<size_t>((group * 6 + i) * 6 + j)], sum / 48, 1e-6) << group << " " << i << " " << j;
      }
}

TEST_F(CalibratorTest, RefusesAStoreInUse) {
  auto first = ::quanta::RunFolder::open(folder, 5, false), other = ::quanta::RunFolder::open(folder, 6, false);
  ASSERT_TRUE(static_cast<bool>(first));
  ASSERT_TRUE(static_cast<bool>(other));
  // The lock is this process's.
  pid_t child = fork();
  if (child == 0) {
    auto second = ::quanta::RunFolder::open(folder, 5, true);
    bool refused = !second && llvm::toString(second.takeError()).find("another process calibrates") != std::string::npos;
    auto third = ::quanta::RunFolder::open(folder, 7, true);
    _exit(refused && third ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

} // namespace
