//===- IntegerDotTest.cpp - Every instruction that multiplies bytes, run ------------------------------------------------===//
#include "quanta/Codegen/IntegerDot.h"
#include "quanta/Codegen/Emission.h"
#include "quanta/Lowering/Passes.h"
#include "quanta/Pipelines/Registration.h"
#include "quanta/Support/Npy.h"
#include "quanta/Target/Target.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "gtest/gtest.h"
#include <random>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::DType;

namespace {

const char *kGraph = R"mlir(
func.func @main(%sum: tensor<16xi32>, %codes: tensor<16xi32>, %x: tensor<16xi32>) -> (tensor<16xi32>, tensor<16xi32>) attributes {
    quanta.inputs = ["sum", "codes", "x"], quanta.outputs = ["small", "whole"], quanta.dims = [[16], [16], [16]]} {
  %e = tensor.empty() : tensor<16xi32>
  %small = quanta.kernel "dot" ins(%sum, %codes, %x : tensor<16xi32>, tensor<16xi32>, tensor<16xi32>)
    outs(%e : tensor<16xi32>) {bits = 7 : i64} -> tensor<16xi32>
  %f = tensor.empty() : tensor<16xi32>
  %whole = quanta.kernel "dot" ins(%sum, %codes, %x : tensor<16xi32>, tensor<16xi32>, tensor<16xi32>)
    outs(%f : tensor<16xi32>) {bits = 8 : i64} -> tensor<16xi32>
  return %small, %whole : tensor<16xi32>, tensor<16xi32>
}
)mlir";

/// The kernel "dot": codes of fewer than eight bits lose the bits above.
struct EmitDots : public PassWrapper<EmitDots, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(EmitDots)
  explicit EmitDots(const ::quanta::TargetLevel &level) : level(level) {}
  void runOnOperation() override {
    getOperation().walk([&](KernelOp kernel) {
      KernelBuilder b(ImplicitLocOpBuilder(kernel.getLoc(), kernel));
      b.setLevel(level);
      auto load = [&](size_t i) { return b.loadTile(kernel.getInputs()[i], {b.index(0)}); };
      unsigned bits = cast<IntegerAttr>(kernel.getConfig().get("bits")).getInt();
      Value codes = b.andi(load(1), b.tileOf(static_cast<int32_t>(((1u << bits) - 1) * 0x01010101u)));
      b.storeTile(emitIntegerDot(b, load(0), codes, load(2), bits), kernel.getOutputs()[0], {b.index(0)});
      kernel.erase();
    });
  }
  const ::quanta::TargetLevel &level;
};

struct Case {
  const char *triple, *cpu;
  std::vector<std::string> runner; ///< program and arguments before the model's; empty: this machine
};

class IntegerDotTest : public testing::TestWithParam<Case> {
protected:
  /// Lowers the graph and writes an executable.
  llvm::Error compile(StringRef path) {
    DialectRegistry registry;
    registerDialects(registry);
    MLIRContext context(registry);
    OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(kGraph, &context);
    auto target = ::quanta::Target::resolve(GetParam().triple, GetParam().cpu);
    if (!target)
      return target.takeError();
    LoweringOptions lowering;
    lowering.vectorBits = target->getLevel().vectorBits;
    lowering.afterBufferize = [&](OpPassManager &pm) { pm.addPass(std::make_unique<EmitDots>(target->getLevel())); };
    PassManager passes(&context);
    buildLoweringPipeline(passes, lowering);
    if (!module || failed(passes.run(*module)))
      return ::quanta::userError("the graph cannot be lowered");
    EmissionOptions emission;
    emission.output = path.str();
    emission.kind = EmitKind::Executable;
    emission.name = "dot";
    emission.triple = GetParam().triple;
    emission.cpus = {GetParam().cpu};
    return emitModel(*module, emission).takeError();
  }
};

TEST_P(IntegerDotTest, IsExact) {
  std::vector<std::string> command = GetParam().runner;
  if (!command.empty()) {
    auto emulator = llvm::sys::findProgramByName(command.front());
    if (!emulator || !llvm::sys::findProgramByName("aarch64-linux-gnu-gcc"))
      GTEST_SKIP() << "needs " << command.front() << " and aarch64-linux-gnu-gcc";
    command.front() = *emulator;
  }
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("quanta-dot", folder));
  auto file = [&](StringRef name) { return (folder + "/" + name).str(); };
  llvm::Error error = compile(file("model"));
  ASSERT_FALSE(static_cast<bool>(error)) << toString(std::move(error));

  std::mt19937 random(0);
  std::vector<int32_t> sum(16), codes(16), x(16);
  auto *q = reinterpret_cast<uint8_t *>(codes.data());
  auto *a = reinterpret_cast<int8_t *>(x.data());
  for (int i = 0; i < 64; ++i) {
    // The first lanes hold the extremes, where sums of pairs are largest.
    q[i] = i < 16 ? 255 : i < 20 ? 128 : random() % 256;
    a[i] = i < 8 ? 127 : i < 20 ? -127 : static_cast<int>(random() % 255) - 127;
    sum[i / 4] = static_cast<int32_t>(random());
  }
  auto tile = [](const std::vector<int32_t> &values) { return Array::copyOf<int32_t>(DType::I32, {16}, values); };
  error = ::quanta::writeNpz(file("in.npz"), {{"sum", tile(sum)}, {"codes", tile(codes)}, {"x", tile(x)}});
  ASSERT_FALSE(static_cast<bool>(error)) << toString(std::move(error));
  for (StringRef word : {file("model"), std::string("--inputs"), file("in.npz"), std::string("--outputs"), file("out.npz")})
    command.push_back(word.str());
  ASSERT_EQ(llvm::sys::ExecuteAndWait(command.front(), SmallVector<StringRef>(command.begin(), command.end())), 0);

  auto outputs = ::quanta::readNpz(file("out.npz"));
  ASSERT_TRUE(static_cast<bool>(outputs)) << toString(outputs.takeError());
  ASSERT_EQ(outputs->size(), 2u);
  for (auto &[name, array] : *outputs) {
    unsigned mask = name == "small" ? 127 : 255;
    for (int lane = 0; lane < 16; ++lane) {
      uint32_t expected = sum[lane];
      for (int i = 4 * lane; i < 4 * lane + 4; ++i)
        expected += static_cast<int>(q[i] & mask) * a[i];
      EXPECT_EQ(array.as<int32_t>()[lane], static_cast<int32_t>(expected)) << name << " " << lane;
    }
  }
  llvm::sys::fs::remove_directories(folder);
}

std::vector<std::string> onArm(const char *cpu) { return {"qemu-aarch64", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu"}; }

INSTANTIATE_TEST_SUITE_P(Targets, IntegerDotTest,
                         testing::Values(Case{"", "native", {}}, Case{"aarch64-linux-gnu", "cortex-a72", onArm("cortex-a72")},
                                         Case{"aarch64-linux-gnu", "neoverse-n1", onArm("neoverse-n1")},
                                         Case{"aarch64-linux-gnu", "neoverse-v1@128", onArm("max,sve-max-vq=1")},
                                         Case{"aarch64-linux-gnu", "neoverse-v1@256", onArm("max,sve-max-vq=2")},
                                         Case{"aarch64-linux-gnu", "neoverse-v1@512", onArm("max,sve-max-vq=16")},
                                         Case{"aarch64-linux-gnu", "a64fx@256", onArm("max,sve-max-vq=8")},
                                         Case{"aarch64-linux-gnu", "a64fx@512", onArm("max,sve-max-vq=4")}),
                         [](const auto &info) { return std::string("Case") + std::to_string(info.index); });
} // namespace
