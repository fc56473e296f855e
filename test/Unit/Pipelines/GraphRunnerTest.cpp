//===- GraphRunnerTest.cpp ----------------------------------------------------------------------------------------------===//
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Pipelines/Registration.h"
#include "mlir/Parser/Parser.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;

namespace {

const char *kGraph = R"mlir(
#u2 = #quanta.uniform<bits = 2, group = 2>
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x2xf32> attributes {
    quanta.inputs = ["x"], quanta.outputs = ["y"], quanta.dims = [["rows", 4]]} {
  %w = quanta.constant {codes = dense<[[1, 2, 3, 0], [3, 3, 2, 2]]> : tensor<2x4xi8>,
                        scales = dense<[[1.0, 0.5], [2.0, 1.0]]> : tensor<2x2xf16>} : tensor<2x4xf32, #u2>
  %seen = quanta.observe %x, "input" : tensor<?x4xf32>
  %y = quanta.linear %seen, %w : (tensor<?x4xf32>, tensor<2x4xf32, #u2>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}
)mlir";

OwningOpRef<ModuleOp> parse(MLIRContext &context, const char *text) { return parseSourceString<ModuleOp>(text, &context); }

struct GraphRunnerTest : testing::Test {
  GraphRunnerTest() {
    DialectRegistry registry;
    registerDialects(registry);
    context.appendDialectRegistry(registry);
  }
  MLIRContext context;
};

TEST_F(GraphRunnerTest, RunsAnEncodedGraphWithObservers) {
  OwningOpRef<ModuleOp> module = parse(context, kGraph);
  ASSERT_TRUE(module);
  auto graph = createCompilingGraphRunner(1)->prepare(*module);
  ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
  ArrayMap inputs;
  inputs["x"] = Array::copyOf<float>(::quanta::DType::F32, {3, 4}, {1, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4});
  auto outputs = (*graph)->run(inputs);
  ASSERT_TRUE(static_cast<bool>(outputs)) << toString(outputs.takeError());
  // Codes minus 2, times scales: rows [-1, 0, 0.5, -1] and [2, 2, 0, 0].
  auto y = (*outputs)["y"].as<float>();
  const float expected[] = {-1, 2, 0, 2, -1 + 1.5f - 4, 6};
  ASSERT_EQ(y.size(), 6u);
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_FLOAT_EQ(y[i], expected[i]) << i;
  auto observed = (*outputs)["observe:input"].as<float>();
  ASSERT_EQ(observed.size(), 12u);
  EXPECT_EQ(observed[11], 4);
  // The graph is as it was.
  EXPECT_TRUE(module->walk([](ObserveOp) { return WalkResult::interrupt(); }).wasInterrupted());
}

TEST_F(GraphRunnerTest, SaysWhyAGraphCannotRun) {
  OwningOpRef<ModuleOp> module = parse(context, R"mlir(
    func.func @main(%x: tensor<2x2xf32>, %w: tensor<2x2xf32, #quanta.uniform<bits = 4>>) -> tensor<2x2xf32> {
      %y = quanta.linear %x, %w : (tensor<2x2xf32>, tensor<2x2xf32, #quanta.uniform<bits = 4>>) -> tensor<2x2xf32>
      return %y : tensor<2x2xf32>
    })mlir");
  ASSERT_TRUE(module);
  auto graph = createCompilingGraphRunner()->prepare(*module);
  ASSERT_FALSE(static_cast<bool>(graph));
  std::string message = toString(graph.takeError());
  EXPECT_NE(message.find("expected an encoded weight to be a constant"), std::string::npos) << message;
}

} // namespace
