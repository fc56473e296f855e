//===- ModelProbeTest.cpp - Sensitivities of a model whose derivatives are known ------------------------------------------===//
#include "ModelProbe.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Pipelines/Registration.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;

namespace {

/// y = h · diag(1, 2, 0), tokens weighted 1 and 3: diag(JᵀJ) of h is (1, 9) × (1, 4, 0).
const char *kModel = R"mlir(
#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#row = affine_map<(d0, d1, d2) -> (d1)>
func.func @main(%x: tensor<?x2x3xf32>) -> tensor<?x2x3xf32> attributes {
    quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["samples", 2, 3]]} {
  %one = arith.constant dense<[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]> : tensor<3x3xf32>
  %two = arith.constant dense<[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]> : tensor<3x3xf32>
  %tokens = arith.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %zero = arith.constant 0 : index
  %samples = tensor.dim %x, %zero : tensor<?x2x3xf32>
  %h = quanta.linear %x, %one : (tensor<?x2x3xf32>, tensor<3x3xf32>) -> tensor<?x2x3xf32> loc("probed")
  %d = quanta.linear %h, %two : (tensor<?x2x3xf32>, tensor<3x3xf32>) -> tensor<?x2x3xf32>
  %e = tensor.empty(%samples) : tensor<?x2x3xf32>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]}
    ins(%d, %tokens : tensor<?x2x3xf32>, tensor<2xf32>) outs(%e : tensor<?x2x3xf32>) {
  ^bb0(%a: f32, %w: f32, %u: f32):
    %p = arith.mulf %a, %w : f32
    linalg.yield %p : f32
  } -> tensor<?x2x3xf32>
  return %y : tensor<?x2x3xf32>
}
)mlir";

TEST(ModelProbeTest, MeasuresTheDiagonalOfALinearModel) {
  registerGraphRunner([](unsigned threads) { return createCompilingGraphRunner(threads); });
  DialectRegistry registry;
  registerDialects(registry);
  MLIRContext context(registry);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(kModel, &context);
  ASSERT_TRUE(module);
  llvm::SmallString<128> path;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("probe", "npz", path));
  llvm::FileRemover remover(path);
  std::vector<float> values(24);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = 0.1f * static_cast<float>(i) - 1;
  ASSERT_FALSE(llvm::errorToBool(::quanta::writeNpz(path, {{"x", Array::copyOf<float>(::quanta::DType::F32, {4, 2, 3}, values)}})));
  Value probed;
  module->walk([&](LinearOp op) {
    if (getNodeName(op.getLoc()) == "probed")
      probed = op.getResult();
  });
  ASSERT_TRUE(probed);

  ModelProbe probe(*module, {path.str().str(), 4, 256, 0, 1});
  int64_t seen = 0;
  ASSERT_FALSE(llvm::errorToBool(probe.observe({probed}, [&](size_t, const Array &array) {
    EXPECT_EQ(array.as<float>()[0], values[seen * 6]);
    seen += array.getShape()[0];
    return llvm::Error::success();
  })));
  EXPECT_EQ(seen, 4);
  auto measured = probe.measure({probed}, 3, 12);
  ASSERT_TRUE(static_cast<bool>(measured)) << toString(measured.takeError());
  const std::vector<std::vector<double>> expected{{0.2, 1.8}, {0.6, 2.4, 0}};
  ASSERT_EQ((*measured)[0].axes.size(), 2u);
  for (size_t axis = 0; axis < 2; ++axis) {
    ASSERT_EQ((*measured)[0].axes[axis].size(), expected[axis].size());
    for (size_t i = 0; i < expected[axis].size(); ++i)
      EXPECT_NEAR((*measured)[0].axes[axis][i], expected[axis][i], 1e-3) << axis << ", " << i;
  }
}

} // namespace
