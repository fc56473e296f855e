//===- ChannelEditTest.cpp - Edits of a block with known results ----------------------------------------------------------===//
//
// llama-block.json: RMS norms, rotary embedding, grouped queries (4 heads, 2 key heads), SwiGLU and a head; its logits, and
// the constants after some transforms.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "OracleModule.h"
#include "VerifiedEdits.h"
#include "quanta/Pipelines/GraphRunner.h"
#include "quanta/Pipelines/Registration.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::ArrayMap;

namespace {

const char *kBody = R"mlir(
  %init = tensor.empty() : tensor<1x5x8xf32>
  %x = quanta.embedding %E, %ids : (tensor<5x8xf32>, tensor<1x5xi64>) -> tensor<1x5x8xf32> loc("stream")
  %h = quanta.rms_norm %x, %g1 {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %ql = quanta.linear %h, %q : (tensor<1x5x8xf32>, tensor<16x8xf32>) -> tensor<1x5x16xf32> loc("q")
  %kl = quanta.linear %h, %k : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("k")
  %vl = quanta.linear %h, %v : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("v")
  %h4 = tensor.empty() : tensor<1x4x5x4xf32>
  %h2 = tensor.empty() : tensor<1x2x5x4xf32>
  %qe = tensor.expand_shape %ql [[0], [1], [2, 3]] output_shape [1, 5, 4, 4] : tensor<1x5x16xf32> into tensor<1x5x4x4xf32>
  %ke = tensor.expand_shape %kl [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %ve = tensor.expand_shape %vl [[0], [1], [2, 3]] output_shape [1, 5, 2, 4] : tensor<1x5x8xf32> into tensor<1x5x2x4xf32>
  %qt = linalg.transpose ins(%qe : tensor<1x5x4x4xf32>) outs(%h4 : tensor<1x4x5x4xf32>) permutation = [0, 2, 1, 3]
  %kt = linalg.transpose ins(%ke : tensor<1x5x2x4xf32>) outs(%h2 : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %vt = linalg.transpose ins(%ve : tensor<1x5x2x4xf32>) outs(%h2 : tensor<1x2x5x4xf32>) permutation = [0, 2, 1, 3]
  %qr = quanta.rotary %qt, %cos, %sin : (tensor<1x4x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x4x5x4xf32>
  %kr = quanta.rotary %kt, %cos, %sin : (tensor<1x2x5x4xf32>, tensor<1x1x5x4xf32>, tensor<1x1x5x4xf32>) -> tensor<1x2x5x4xf32>
  %a = quanta.attention %qr, %kr, %vt mask %mask {scale = 0.5 : f32} : (tensor<1x4x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x2x5x4xf32>, tensor<1x1x5x5xf32>) -> tensor<1x4x5x4xf32> loc("attention")
  %t4 = tensor.empty() : tensor<1x5x4x4xf32>
  %at = linalg.transpose ins(%a : tensor<1x4x5x4xf32>) outs(%t4 : tensor<1x5x4x4xf32>) permutation = [0, 2, 1, 3]
  %ac = tensor.collapse_shape %at [[0], [1], [2, 3]] : tensor<1x5x4x4xf32> into tensor<1x5x16xf32>
  %ol = quanta.linear %ac, %o : (tensor<1x5x16xf32>, tensor<8x16xf32>) -> tensor<1x5x8xf32> loc("o")
  %x1 = linalg.generic #add ins(%x, %ol : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n1 = quanta.rms_norm %x1, %g2 {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %gl = quanta.linear %n1, %gate : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("gate")
  %ul = quanta.linear %n1, %up : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("up")
  %silu = quanta.activation silu %gl : tensor<1x5x8xf32>
  %product = linalg.generic #add ins(%silu, %ul : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %s = arith.mulf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %d = quanta.linear %product, %down : (tensor<1x5x8xf32>, tensor<8x8xf32>) -> tensor<1x5x8xf32> loc("down")
  %x2 = linalg.generic #add ins(%x1, %d : tensor<1x5x8xf32>, tensor<1x5x8xf32>) outs(%init : tensor<1x5x8xf32>) {
  ^bb0(%l: f32, %r: f32, %u: f32):
    %s = arith.addf %l, %r : f32
    linalg.yield %s : f32
  } -> tensor<1x5x8xf32>
  %n2 = quanta.rms_norm %x2, %gf {epsilon = 1.0e-5 : f32} : (tensor<1x5x8xf32>, tensor<8xf32>) -> tensor<1x5x8xf32>
  %y = quanta.linear %n2, %head : (tensor<1x5x8xf32>, tensor<6x8xf32>) -> tensor<1x5x6xf32> loc("head")
  return %y : tensor<1x5x6xf32>
}
)mlir";

struct ChannelEditTest : testing::Test {
  ChannelEditTest() {
    DialectRegistry registry;
    registerDialects(registry);
    registerPasses();
    context.appendDialectRegistry(registry);
    oracle = readOracle("llama-block");
    if (!oracle.getAsObject())
      return;
    module = parseSourceString<ModuleOp>(buildText(), &context);
  }

  std::vector<double> get(StringRef section, StringRef key) {
    return numbers(*oracle.getAsObject()->getObject(section)->get(key));
  }
  std::vector<double> edited(StringRef section, StringRef key) {
    return numbers(*oracle.getAsObject()->getObject(section)->getObject("weights")->get(key));
  }

  std::string buildText() {
    std::string text = "#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>\n#add = {indexing_maps = [#id, #id, #id], iterator_types = "
                       "[\"parallel\", \"parallel\", \"parallel\"]}\nfunc.func @main(%ids: tensor<1x5xi64>) -> tensor<1x5x6xf32> "
                       "attributes {quanta.inputs = [\"ids\"], quanta.outputs = [\"y\"], quanta.dims = [[1, 5]]} {\n";
    const std::pair<const char *, SmallVector<int64_t>> shapes[] = {
        {"E", {5, 8}}, {"g1", {8}},   {"g2", {8}},      {"gf", {8}},    {"q", {16, 8}},   {"k", {8, 8}},
        {"v", {8, 8}}, {"o", {8, 16}}, {"gate", {8, 8}}, {"up", {8, 8}}, {"down", {8, 8}}, {"head", {6, 8}}};
    for (auto &[name, shape] : shapes)
      text += constant(name, get("weights", name), shape);
    std::vector<double> theta = numbers(*oracle.getAsObject()->get("theta")), cos, sin, mask;
    for (int64_t t = 0; t < 5; ++t)
      for (int64_t i = 0; i < 4; ++i) {
        cos.push_back(std::cos(t * theta[i % 2]));
        sin.push_back(std::sin(t * theta[i % 2]));
      }
    for (int64_t s = 0; s < 5; ++s)
      for (int64_t t = 0; t < 5; ++t)
        mask.push_back(t > s ? -1e30 : 0);
    return text + constant("cos", cos, {1, 1, 5, 4}) + constant("sin", sin, {1, 1, 5, 4}) + constant("mask", mask, {1, 1, 5, 5}) +
           kBody;
  }

  Operation *find(StringRef name) {
    Operation *found = nullptr;
    module->walk([&](Operation *op) {
      if (isa<LinearOp, AttentionOp, EmbeddingOp>(op) && getNodeName(op->getLoc()) == name)
        found = op;
    });
    return found;
  }
  ChannelPlan plan(Value value, ChannelTransform kind, SmallVector<int64_t> axes = {2}) {
    PlanOptions options;
    options.kind = kind;
    ChannelPlan result = planTransform(value, axes, options);
    EXPECT_TRUE(result.isLegal()) << result.refusal;
    return result;
  }

  /// The block still computes the reference's logits.
  void checkLogits(double tolerance = 2e-5) {
    auto graph = createCompilingGraphRunner(1, 0)->prepare(*module);
    ASSERT_TRUE(static_cast<bool>(graph)) << toString(graph.takeError());
    ArrayMap inputs;
    inputs["ids"] = Array::copyOf<int64_t>(::quanta::DType::I64, {1, 5}, {0, 1, 2, 3, 4});
    auto outputs = (*graph)->run(inputs);
    ASSERT_TRUE(static_cast<bool>(outputs)) << toString(outputs.takeError());
    std::vector<double> expected = numbers(*oracle.getAsObject()->get("logits"));
    auto y = (*outputs)["y"].as<float>();
    ASSERT_EQ(y.size(), expected.size());
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], tolerance) << i;
  }
  void checkWeight(StringRef layer, StringRef section, StringRef key) {
    std::vector<float> weight = readFloats(isa<EmbeddingOp>(find(layer)) ? find(layer)->getOperand(0) : find(layer)->getOperand(1));
    std::vector<double> expected = edited(section, key);
    ASSERT_EQ(weight.size(), expected.size()) << layer.str();
    for (size_t i = 0; i < weight.size(); ++i)
      ASSERT_NEAR(weight[i], expected[i], 1e-5) << layer.str() << " " << i;
  }

  MLIRContext context;
  llvm::json::Value oracle = nullptr;
  OwningOpRef<ModuleOp> module;
};

TEST_F(ChannelEditTest, IsTheReference) {
  ASSERT_TRUE(module);
  checkLogits();
}

TEST_F(ChannelEditTest, PermutesStreamHeadsAndHiddenChannels) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  edits.permute(plan(find("stream")->getResult(0), ChannelTransform::Permute), toOrder(get("index", "global_residual")));
  edits.permute(plan(find("down")->getOperand(0), ChannelTransform::Permute), toOrder(get("index", "R5")));
  // One order for each key head; its query heads share it.
  edits.permute(plan(find("attention")->getOperand(2), ChannelTransform::Permute, {1, 3}), toOrder(get("index", "R3_v_rows")));
  std::vector<double> o = get("weights", "o"), columns = get("index", "R3_o_cols"), rows = get("index", "global_residual");
  std::vector<float> weight = readFloats(find("o")->getOperand(1));
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t j = 0; j < 16; ++j)
      ASSERT_NEAR(weight[i * 16 + j], o[int64_t(rows[i]) * 16 + int64_t(columns[j])], 1e-6);
  checkLogits();
  edits.undo(0);
  std::vector<float> old = readFloats(find("o")->getOperand(1));
  for (size_t i = 0; i < old.size(); ++i)
    ASSERT_EQ(old[i], static_cast<float>(o[i]));
}

TEST_F(ChannelEditTest, ScalesNormsHeadsAndGatedProducts) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  auto scale = [&](Value value, std::vector<double> s, SmallVector<int64_t> axes = {2}) {
    std::vector<double> factors;
    for (double x : s)
      factors.push_back(1 / x);
    edits.scale(plan(value, ChannelTransform::Scale, axes), factors, s);
  };
  scale(find("q")->getOperand(0), get("smooth", "s_attn"));
  scale(find("gate")->getOperand(0), get("smooth", "s_ffn"));
  scale(find("down")->getOperand(0), get("smooth", "s_down"));
  scale(find("attention")->getOperand(2), get("smooth", "s_v"), {1, 3});
  for (const char *name : {"q", "k", "v", "o", "gate", "up", "down", "head"})
    checkWeight(name, "smooth", name);
  checkLogits();
}

TEST_F(ChannelEditTest, RotatesTheStreamOnceScalesAreFolded) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  PlanOptions rotate;
  rotate.kind = ChannelTransform::Rotate;
  EXPECT_FALSE(planTransform(find("stream")->getResult(0), {2}, rotate).isLegal());
  for (auto [layer, name] : {std::pair("q", "g1"), std::pair("gate", "g2"), std::pair("head", "gf")}) {
    std::vector<double> gamma = get("weights", name), factors;
    for (double g : gamma)
      factors.push_back(1 / g);
    Value norm = find(layer)->getOperand(0);
    edits.scale(plan(norm, ChannelTransform::Scale), factors, gamma);
    // Products of a number and its reciprocal are not exactly one.
    OpOperand &parameters = norm.getDefiningOp()->getOpOperand(1);
    edits.setOperand(parameters, edits.makeConstant(parameters.get(), std::vector<float>(8, 1)));
  }
  std::vector<double> q = get("quarot", "Q");
  edits.transform(plan(find("stream")->getResult(0), ChannelTransform::Rotate), [&](size_t, MutableArrayRef<double> x) {
    std::vector<double> y(8);
    for (int64_t i = 0; i < 8; ++i)
      for (int64_t j = 0; j < 8; ++j)
        y[j] += x[i] * q[i * 8 + j];
    llvm::copy(y, x.begin());
  });
  // v, o and down have rotations of their own in the reference.
  checkWeight("stream", "quarot", "E");
  for (const char *name : {"q", "k", "gate", "up", "head"})
    checkWeight(name, "quarot", name);
  checkLogits();
  edits.transform(plan(find("attention")->getOperand(2), ChannelTransform::Rotate, {1, 3}), [](size_t, MutableArrayRef<double> x) {
    std::reverse(x.begin(), x.end());
    x[0] = -x[0];
  });
  checkLogits();
}

TEST_F(ChannelEditTest, CommitsAndFrees) {
  ASSERT_TRUE(module);
  ChannelEdits edits;
  edits.permute(plan(find("down")->getOperand(0), ChannelTransform::Permute), toOrder(get("index", "R5")));
  edits.commit(*module);
  unsigned constants = 0;
  module->walk([&](arith::ConstantOp) { ++constants; });
  EXPECT_EQ(constants, 15u);
  checkLogits();
}

TEST_F(ChannelEditTest, RollsBackWhatChangesTheOutputs) {
  ASSERT_TRUE(module);
  llvm::SmallString<128> path;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("ids", "npz", path));
  llvm::FileRemover remover(path);
  ASSERT_FALSE(static_cast<bool>(
      ::quanta::writeNpz(path, {{"ids", Array::copyOf<int64_t>(::quanta::DType::I64, {1, 5}, {0, 1, 2, 3, 4})}})));
  std::vector<std::string> remarks;
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) { remarks.push_back(diagnostic.str()); });

  ModelCheck check(*module, {path.str().str(), 4, 256, 0, 1});
  std::vector<std::pair<Value, ChannelRange>> ranges;
  Value hidden = find("down")->getOperand(0);
  ranges.push_back({hidden, ChannelRange{*plan(hidden, ChannelTransform::Permute).find(hidden), {}, {}}});
  llvm::Error error = check.observe(ranges);
  ASSERT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
  for (size_t c = 0; c < 8; ++c)
    EXPECT_LT(ranges[0].second.min[c], ranges[0].second.max[c]);

  EditSite right{find("down"), "input", [&](ChannelEdits &edits) -> std::optional<std::string> {
                   edits.permute(plan(find("down")->getOperand(0), ChannelTransform::Permute), toOrder(get("index", "R5")));
                   return "is permuted";
                 }};
  EditSite wrong{find("up"), "weight", [&](ChannelEdits &edits) -> std::optional<std::string> {
                   OpOperand &weight = find("up")->getOpOperand(1);
                   std::vector<float> data = readFloats(weight.get());
                   data[3] += 0.01f;
                   edits.setOperand(weight, edits.makeConstant(weight.get(), data));
                   return "is wrong";
                 }};
  error = applyVerified(*module, {right, wrong}, check);
  ASSERT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
  ASSERT_EQ(remarks.size(), 2u);
  EXPECT_NE(remarks[0].find("input is permuted; the model's outputs differ by"), std::string::npos) << remarks[0];
  EXPECT_NE(remarks[1].find("weight rolled back"), std::string::npos) << remarks[1];
  checkLogits();
  std::vector<float> weight = readFloats(find("down")->getOperand(1));
  std::vector<double> original = get("weights", "down"), order = get("index", "R5");
  for (int64_t i = 0; i < 64; ++i)
    ASSERT_NEAR(weight[i], original[i / 8 * 8 + int64_t(order[i % 8])], 1e-6);
}

} // namespace
