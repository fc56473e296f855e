//===- import-fuzz.cpp - Feed damaged models to the importer ------------------------------------------------------------===//
//
// quanta-import-fuzz COUNT SEED FILE...: no damage, however arranged, may crash the importer, hang it or make it allocate
// without bound. Build with -DQUANTA_SANITIZE=address,undefined. The same arguments give the same damage.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Import/ONNX/Import.h"
#include "quanta/Import/ONNX/Shapes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <random>

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

int main(int argc, char **argv) {
  if (argc < 4) {
    llvm::errs() << "usage: quanta-import-fuzz COUNT SEED FILE...\n";
    return 1;
  }
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
    std::string bytes = damage(files[i % files.size()]->getBuffer(), random);
    MLIRContext context(MLIRContext::Threading::DISABLED);
    ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
    quanta::Problems problems;
    auto module = quanta::importONNX(llvm::MemoryBufferRef(bytes, "model"), {}, &context, problems);
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
      if (failed(quanta::SymbolicShapes::compute(function))) {
        llvm::errs() << "case " << i << ": shapes that import found cannot be computed again\n";
        return 1;
      }
  }
  llvm::outs() << count << " damaged models, " << accepted << " of them accepted\n";
  return 0;
}
