//===- RptqTest.cpp - RPTQ's rewrites R2, R3 and R5, and rotary pairs, against a reference ----------------------------------===//
#include "OracleModule.h"
#include "VerifiedEdits.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Pipelines/Registration.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;

namespace {

struct RptqTest : testing::Test {
  RptqTest() {
    DialectRegistry registry;
    registerDialects(registry);
    registerPasses();
    context.appendDialectRegistry(registry);
  }

  std::vector<double> get(StringRef key) { return numbers(*oracle.getAsObject()->get(key)); }

  /// `main` of one input and one output of these shapes, with the oracle's arrays of these names and shapes as constants.
  void load(StringRef name, StringRef input, StringRef output,
            std::initializer_list<std::pair<const char *, SmallVector<int64_t>>> weights, const std::string &body) {
    oracle = readOracle(name);
    ASSERT_TRUE(oracle.getAsObject()) << name.str();
    std::string text = ("func.func @main(%x: tensor<" + input + "xf32>) -> tensor<" + output +
                        "xf32> attributes {quanta.inputs = [\"x\"], quanta.outputs = [\"y\"]} {\n")
                           .str();
    for (auto &[key, shape] : weights)
      text += constant(key, get(key), shape);
    module = parseSourceString<ModuleOp>(text + body + "  return %y : tensor<" + output.str() + "xf32>\n}\n", &context);
    ASSERT_TRUE(module);
  }

  Operation *find(StringRef name) {
    Operation *found = nullptr;
    module->walk([&](Operation *op) {
      if (isa_and_present<QuantaDialect>(op->getDialect()) && getNodeName(op->getLoc()) == name)
        found = op;
    });
    EXPECT_TRUE(found) << name.str();
    return found;
  }

  ChannelPlan plan(Value value, ChannelTransform kind, SmallVector<int64_t> axes) {
    PlanOptions options;
    options.kind = kind;
    ChannelPlan result = planTransform(value, axes, options);
    EXPECT_TRUE(result.isLegal()) << result.refusal;
    return result;
  }

  void checkOutput(ArrayRef<double> x, std::vector<int64_t> shape, ArrayRef<double> expected) {
    auto graph = createCompilingGraphRunner(1, 0)->prepare(*module);
    ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
    ArrayMap inputs;
    inputs["x"] = Array::copyOf<float>(::quanta::DType::F32, std::move(shape), std::vector<float>(x.begin(), x.end()));
    auto outputs = (*graph)->run(inputs);
    ASSERT_TRUE(static_cast<bool>(outputs)) << toString(outputs.takeError());
    auto y = (*outputs)["y"].as<float>();
    ASSERT_EQ(y.size(), expected.size());
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], 2e-5) << i;
  }

  /// A weight's rows, columns being `width`, are those of the oracle in this order.
  void checkRows(StringRef layer, StringRef key, unsigned operand, ArrayRef<int32_t> order, size_t width) {
    std::vector<float> weight = readFloats(find(layer)->getOperand(operand));
    std::vector<double> original = get(key);
    ASSERT_EQ(weight.size(), order.size() * width);
    for (size_t i = 0; i < weight.size(); ++i)
      ASSERT_NEAR(weight[i], original[order[i / width] * width + i % width], 1e-6) << key.str() << " " << i;
  }

  MLIRContext context;
  llvm::json::Value oracle = nullptr;
  OwningOpRef<ModuleOp> module;
};

TEST_F(RptqTest, AttentionHeads) {
  std::string body = "  %mask = arith.constant dense<[[[[0.0, -1.0e30, -1.0e30, -1.0e30, -1.0e30], [0.0, 0.0, -1.0e30, -1.0e30, -1.0e30], [0.0, 0.0, 0.0, -1.0e30, "
                     "-1.0e30], [0.0, 0.0, 0.0, 0.0, -1.0e30], [0.0, 0.0, 0.0, 0.0, 0.0]]]]> : tensor<1x1x5x5xf32>\n";
  for (const char *name : {"q", "k", "v"}) {
    std::string n = name;
    body += "  %" + n + "l = quanta.linear %x, %W" + n + " bias %b" + n + " : (tensor<1x5x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32> loc(\"" + n + "\")\n" +
            "  %" + n + "e = tensor.expand_shape %" + n + "l [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>\n" +
            "  %" + n + "i = tensor.empty() : tensor<1x2x5x4xf32>\n" +
            "  %" + n + "t = linalg.transpose ins(%" + n + "e : tensor<1x5x2x4xf32>) outs(%" + n + "i : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]\n";
  }
  body += R"mlir(
  %a = quanta.attention %qt, %kt, %vt mask %mask {scale = 0.5 : f32} : (tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x1x5x5xf32>) -> tensor<1x2x5x4xf32> loc("attention")
  %i = tensor.empty() : tensor<1x5x2x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x2x5x4xf32>) outs(%i : tensor<1x5x2x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x2x4xf32> into tensor<1x5x8xf32>
  %y = quanta.linear %ac, %Wo bias %bo : (tensor<1x5x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32> loc("o")
)mlir";
  load("rptq-attention", "1x5x8", "1x5x8",
       {{"Wq", {8, 8}}, {"bq", {8}}, {"Wk", {8, 8}}, {"bk", {8}}, {"Wv", {8, 8}}, {"bv", {8}}, {"Wo", {8, 8}}, {"bo", {8}}}, body);
  ASSERT_TRUE(module);
  checkOutput(get("X"), {1, 5, 8}, get("y"));
  ChannelEdits edits;
  std::vector<int32_t> r2 = toOrder(get("R2_perm")), r3 = toOrder(get("R3_perm")), same = {0, 1, 2, 3, 4, 5, 6, 7};
  edits.permute(plan(find("attention")->getOperand(0), ChannelTransform::Permute, {1, 3}), r2);
  edits.permute(plan(find("attention")->getOperand(2), ChannelTransform::Permute, {1, 3}), r3);
  for (auto [layer, order] : {std::pair("q", &r2), {"k", &r2}, {"v", &r3}}) {
    checkRows(layer, std::string("W") + layer, 1, *order, 8);
    checkRows(layer, std::string("b") + layer, 2, *order, 1);
  }
  checkRows("o", "bo", 2, same, 1);
  std::vector<float> o = readFloats(find("o")->getOperand(1));
  std::vector<double> original = get("Wo");
  for (size_t i = 0; i < o.size(); ++i)
    ASSERT_NEAR(o[i], original[i / 8 * 8 + r3[i % 8]], 1e-6);
  checkOutput(get("X"), {1, 5, 8}, get("y"));
}

TEST_F(RptqTest, GatedProduct) {
  load("rptq-swiglu", "3x4", "3x4", {{"Wgate", {6, 4}}, {"Wup", {6, 4}}, {"Wdown", {4, 6}}}, R"mlir(
  %g = quanta.linear %x, %Wgate : (tensor<3x4xf32>, tensor<6x4xf32>) -> tensor<3x6xf32> loc("gate")
  %u = quanta.linear %x, %Wup : (tensor<3x4xf32>, tensor<6x4xf32>) -> tensor<3x6xf32> loc("up")
  %s = quanta.activation silu %g : tensor<3x6xf32>
  %i = tensor.empty() : tensor<3x6xf32>
  %h = linalg.generic {indexing_maps = [affine_map<(r, c) -> (r, c)>, affine_map<(r, c) -> (r, c)>, affine_map<(r, c) -> (r, c)>],
      iterator_types = ["parallel", "parallel"]} ins(%s, %u : tensor<3x6xf32>, tensor<3x6xf32>) outs(%i : tensor<3x6xf32>) {
  ^bb0(%l: f32, %r: f32, %o: f32):
    %p = arith.mulf %l, %r : f32
    linalg.yield %p : f32
  } -> tensor<3x6xf32>
  %y = quanta.linear %h, %Wdown : (tensor<3x6xf32>, tensor<4x6xf32>) -> tensor<3x4xf32> loc("down")
)mlir");
  ASSERT_TRUE(module);
  checkOutput(get("x"), {3, 4}, get("y"));
  ChannelEdits edits;
  std::vector<int32_t> order = toOrder(get("perm"));
  edits.permute(plan(find("down")->getOperand(0), ChannelTransform::Permute, {1}), order);
  checkRows("gate", "Wgate", 1, order, 4);
  checkRows("up", "Wup", 1, order, 4);
  checkOutput(get("x"), {3, 4}, get("y"));
}

/// One query and one key at three positions each.
struct RotaryTest : RptqTest {
  RotaryTest() {
    oracle = readOracle("rptq-rotary");
    if (!oracle.getAsObject())
      return;
    std::vector<double> theta = get("theta"), cos, sin;
    for (int64_t t = 0; t < 3; ++t)
      for (int64_t i = 0; i < 8; ++i) {
        cos.push_back(std::cos(double(t) * theta[i % 4]));
        sin.push_back(std::sin(double(t) * theta[i % 4]));
      }
    load("rptq-rotary", "1x3x1", "1x1x3x3", {{"q", {8, 1}}, {"k", {8, 1}}}, constant("cos", cos, {1, 1, 3, 8}) + constant("sin", sin, {1, 1, 3, 8}) + R"mlir(
  %ql = quanta.linear %x, %q : (tensor<1x3x1xf32>, tensor<8x1xf32>) -> tensor<1x3x8xf32> loc("query")
  %kl = quanta.linear %x, %k : (tensor<1x3x1xf32>, tensor<8x1xf32>) -> tensor<1x3x8xf32> loc("key")
  %qe = tensor.expand_shape %ql [[0], [1, 2], [3]] output_shape [1, 1, 3, 8] : tensor<1x3x8xf32> into tensor<1x1x3x8xf32>
  %ke = tensor.expand_shape %kl [[0], [1, 2], [3]] output_shape [1, 1, 3, 8] : tensor<1x3x8xf32> into tensor<1x1x3x8xf32>
  %qr = quanta.rotary %qe, %cos, %sin : (tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<1x1x3x8xf32> loc("rotary")
  %kr = quanta.rotary %ke, %cos, %sin : (tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<1x1x3x8xf32>
  %y = quanta.matmul %qr, %kr {transpose_rhs} : (tensor<1x1x3x8xf32>, tensor<1x1x3x8xf32>) -> tensor<1x1x3x3xf32> loc("scores")
)mlir");
  }
  void checkScores(StringRef key) { checkOutput({1, 1, 1}, {1, 3, 1}, get(key)); }
};

TEST_F(RotaryTest, PairsMoveWithTheirTables) {
  ASSERT_TRUE(module);
  checkScores("scores_ref");
  ChannelEdits edits;
  ChannelPlan pairs = plan(find("rotary")->getOperand(0), ChannelTransform::Permute, {3});
  ASSERT_EQ(pairs.channels, 4); // the halves of a pair cannot be parted
  std::vector<double> order = get("pair_perm");
  edits.permute(pairs, toOrder(ArrayRef(order).take_front(4)));
  checkRows("query", "q", 1, toOrder(order), 1);
  checkRows("key", "k", 1, toOrder(order), 1);
  std::vector<float> cos = readFloats(find("rotary")->getOperand(1));
  std::vector<double> theta = get("theta_permuted");
  for (size_t i = 0; i < 8; ++i)
    EXPECT_NEAR(cos[8 + i], std::cos(theta[i % 4]), 1e-6);
  checkScores("scores_pair_perm_permuted_tables_LEGAL");
}

TEST_F(RotaryTest, PairsHaveOneScale) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  ChannelPlan pairs = plan(find("rotary")->getOperand(0), ChannelTransform::Scale, {3});
  ASSERT_EQ(pairs.channels, 4);
  std::vector<double> scales = get("pair_scale_legal"), factors(scales.begin(), scales.begin() + 4), inverses;
  for (double s : factors)
    inverses.push_back(1 / s);
  edits.scale(pairs, factors, inverses);
  std::vector<float> query = readFloats(find("query")->getOperand(1));
  std::vector<double> original = get("q");
  for (size_t i = 0; i < 8; ++i)
    EXPECT_NEAR(query[i], original[i] * scales[i], 1e-6);
  checkScores("scores_ref");
}

/// What the plans above cannot express changes the scores as the reference says.
TEST_F(RotaryTest, OtherOrdersAndScalesChangeTheScores) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  auto write = [&](StringRef layer, StringRef key, function_ref<double(ArrayRef<double>, size_t)> value) {
    OpOperand &weight = find(layer)->getOpOperand(1);
    std::vector<double> original = get(key);
    std::vector<float> data;
    for (size_t i = 0; i < 8; ++i)
      data.push_back(float(value(original, i)));
    edits.setOperand(weight, edits.makeConstant(weight.get(), data));
  };
  for (auto [orderKey, scores] : {std::pair("illegal_perm", "scores_illegal"), {"pair_perm", "scores_pair_perm_same_tables_ILLEGAL"}}) {
    std::vector<double> order = get(orderKey);
    for (auto [layer, key] : {std::pair("query", "q"), {"key", "k"}})
      write(layer, key, [&](ArrayRef<double> original, size_t i) { return original[size_t(order[i])]; });
    checkScores(scores);
    edits.undo(0);
  }
  std::vector<double> scales = get("scale_illegal");
  write("query", "q", [&](ArrayRef<double> original, size_t i) { return original[i] * scales[i]; });
  write("key", "k", [&](ArrayRef<double> original, size_t i) { return original[i] / scales[i]; });
  checkScores("scores_scale_illegal");
}

} // namespace
