//===- import-fuzz.cpp - Feed damaged models to the importer ------------------------------------------------------===//
//
// quanta-import-fuzz [--lower] COUNT SEED FILE...: no damage, however arranged, may crash the importer, hang it or make it
// allocate without bound. With --lower, models that are still accepted go on through folding, matching, conversion,
// quantization and lowering; they may be refused there, with a message. Build with -DQUANTA_SANITIZE=address,undefined.
// The same arguments give the same damage.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "quanta/Import/ONNX/Import.h"
#include "quanta/Import/ONNX/Shapes.h"
#include "quanta/Conversion/Passes.h"
#include "quanta/Pipelines/Phases.h"
#include "quanta/Pipelines/Registration.h"
#include "quanta/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/PrettyStackTrace.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"
#include <random>

#define ONNX_ML 1
#define ONNX_NAMESPACE onnx
#include <onnx/onnx_pb.h>

using namespace mlir;

static std::string damage(llvm::StringRef seed, std::mt19937_64 &random) {
  std::string bytes = seed.str();
  auto below = [&](size_t limit) { return limit ? size_t(random() % limit) : 0; };
  // Structure is at the ends of most files, weights in between: half of the positions are near an end.
  auto position = [&] {
    size_t size = bytes.size(), edge = std::min<size_t>(size, 32768);
    switch (below(4)) {
    case 0:
      return below(edge);
    case 1:
      return size - edge + below(edge);
    default:
      return below(size);
    }
  };
  for (size_t i = 0, count = 1 + below(8); i < count && !bytes.empty(); ++i) {
    size_t at = position(), length = std::min(1 + below(64), bytes.size() - at);
    switch (below(8)) {
    case 0:
      bytes.resize(at);
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(position(), length));
      break;
    case 3:
      bytes.replace(at, length, std::string(length, char(0xff)));
      break;
    case 4:
      bytes[at] = char(random());
      break;
    default:
      bytes[at] ^= char(1 << below(8));
    }
  }
  return bytes;
}

namespace pb = google::protobuf;

/// Every message of a model with its fields, to pick from.
static void collect(pb::Message &message, std::vector<pb::Message *> &all) {
  all.push_back(&message);
  std::vector<const pb::FieldDescriptor *> fields;
  const pb::Reflection *reflection = message.GetReflection();
  reflection->ListFields(message, &fields);
  for (const pb::FieldDescriptor *field : fields) {
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE)
      continue;
    if (!field->is_repeated())
      collect(*reflection->MutableMessage(&message, field), all);
    else
      for (int i = 0; i < reflection->FieldSize(message, field); ++i)
        collect(*reflection->MutableRepeatedMessage(&message, field, i), all);
  }
}

/// Damage that keeps the file readable: values, missing and repeated fields, names of other things.
static std::string damageFields(llvm::StringRef seed, std::mt19937_64 &random) {
  ::onnx::ModelProto model;
  if (!model.ParseFromArray(seed.data(), seed.size()))
    return seed.str();
  auto below = [&](size_t limit) { return limit ? size_t(random() % limit) : 0; };
  static const int64_t numbers[] = {0,  1,  -1,      2,         3,         7,         64,
                                    65, -2, 1 << 20, INT32_MAX, INT64_MAX, INT64_MIN, int64_t(1) << 40};
  for (size_t step = 0, count = 1 + below(4); step < count; ++step) {
    std::vector<pb::Message *> all;
    collect(model, all);
    pb::Message &message = *all[below(all.size())];
    const pb::Reflection *reflection = message.GetReflection();
    std::vector<const pb::FieldDescriptor *> fields;
    reflection->ListFields(message, &fields);
    if (fields.empty())
      continue;
    const pb::FieldDescriptor *field = fields[below(fields.size())];
    int size = field->is_repeated() ? reflection->FieldSize(message, field) : 0;
    switch (below(6)) {
    case 0:
      if (size)
        reflection->RemoveLast(&message, field);
      else
        reflection->ClearField(&message, field);
      continue;
    case 1:
      if (size)
        reflection->SwapElements(&message, field, below(size), below(size));
      continue;
    default:
      break;
    }
    int64_t number = below(3) ? numbers[below(std::size(numbers))] : int64_t(below(12)) - 2;
    if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_INT64)
      size ? reflection->SetRepeatedInt64(&message, field, below(size), number)
           : reflection->SetInt64(&message, field, number);
    else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_INT32)
      size ? reflection->SetRepeatedInt32(&message, field, below(size), number)
           : reflection->SetInt32(&message, field, number);
    else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && size)
      reflection->AddMessage(&message, field)->CopyFrom(reflection->GetRepeatedMessage(message, field, below(size)));
    else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING) {
      std::string other = below(2) ? "" : std::string(below(80), char(below(3)));
      const auto &graph = model.graph();
      if (below(3) && graph.node_size()) {
        const auto &node = graph.node(below(graph.node_size()));
        other = below(4) == 0 ? node.op_type() : node.output_size() ? node.output(0) : "";
      }
      size ? reflection->SetRepeatedString(&message, field, below(size), other)
           : reflection->SetString(&message, field, other);
    }
  }
  return model.SerializeAsString();
}

/// Everything between import and code. Failure without a message is a bug, too.
static bool lower(ModuleOp module, unsigned &messages) {
  PassManager passes(module.getContext());
  mlir::quanta::buildONNXPreparePipeline(passes);
  passes.addPass(mlir::quanta::createConvertONNXToQuanta());
  passes.addPass(createCanonicalizerPass());
  passes.addPass(mlir::quanta::createQuantizeWeights());
  mlir::quanta::buildLowerPhase(passes, ::quanta::getTargetLevels().front());
  return succeeded(passes.run(module)) || messages;
}

int main(int argc, char **argv) {
  llvm::sys::PrintStackTraceOnErrorSignal(argv[0]);
  bool lowers = argc > 1 && llvm::StringRef(argv[1]) == "--lower";
  argc -= lowers;
  argv += lowers;
  if (argc < 4) {
    llvm::errs() << "usage: quanta-import-fuzz [--lower] COUNT SEED FILE...\n";
    return 1;
  }
  DialectRegistry registry;
  if (lowers)
    mlir::quanta::registerDialects(registry);
  uint64_t count = std::strtoull(argv[1], nullptr, 10), seed = std::strtoull(argv[2], nullptr, 10), accepted = 0;
  std::vector<std::unique_ptr<llvm::MemoryBuffer>> files;
  for (int i = 3; i < argc; ++i) {
    auto file = llvm::MemoryBuffer::getFile(argv[i]);
    if (!file) {
      llvm::errs() << argv[i] << ": " << file.getError().message() << '\n';
      return 1;
    }
    files.push_back(std::move(*file));
  }
  for (uint64_t i = 0; i < count; ++i) {
    std::mt19937_64 random(seed * 1000003 + i);
    llvm::StringRef file = files[i % files.size()]->getBuffer();
    std::string bytes = random() % 2 ? damage(file, random) : damageFields(file, random);
    llvm::PrettyStackTraceFormat where("damaged model %llu", static_cast<unsigned long long>(i));
    MLIRContext context(registry, MLIRContext::Threading::DISABLED);
    unsigned messages = 0;
    ScopedDiagnosticHandler quiet(&context, [&](Diagnostic &) {
      ++messages;
      return success();
    });
    mlir::quanta::Problems problems;
    auto module = mlir::quanta::importONNX(llvm::MemoryBufferRef(bytes, "model"), {}, &context, problems);
    problems.print(llvm::nulls());
    llvm::nulls() << problems.toJSON();
    if (failed(module) != problems.hasErrors()) {
      llvm::errs() << "case " << i << ": the result and the report disagree\n";
      return 1;
    }
    if (failed(module))
      continue;
    ++accepted;
    for (auto function : (*module)->getOps<func::FuncOp>())
      if (failed(mlir::quanta::SymbolicShapes::compute(function))) {
        llvm::errs() << "case " << i << ": shapes that import found cannot be computed again\n";
        return 1;
      }
    if (lowers && !lower(**module, messages)) {
      llvm::errs() << "case " << i << ": lowering failed without a message\n";
      return 1;
    }
  }
  llvm::outs() << count << " damaged models, " << accepted << " of them accepted\n";
  return 0;
}
