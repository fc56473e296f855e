//===- LossStore.cpp - Losses that were measured, on disk -----------------------------------------------------------------===//
#include "LossStore.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::quanta;
using llvm::StringRef;
using ::quanta::userError;

/// A line for each loss: layer and candidate of each layer that is switched, loss.
static constexpr llvm::StringLiteral kFile = "losses.txt";

llvm::Expected<LossStore> LossStore::open(StringRef store, uint64_t fingerprint, bool resume) {
  LossStore result;
  if (store.empty())
    return result;
  auto folder = ::quanta::RunFolder::open(store, fingerprint, resume);
  if (!folder)
    return folder.takeError();
  result.folder = std::move(*folder);
  auto buffer = llvm::MemoryBuffer::getFile(result.folder->getPath(kFile));
  if (!buffer)
    return result;
  for (StringRef rest = (*buffer)->getBuffer(); rest.contains('\n');) {
    auto [line, next] = rest.split('\n');
    rest = next;
    llvm::SmallVector<StringRef, 5> words;
    line.split(words, ' ');
    Key switched(words.size() / 2);
    double loss;
    bool damaged = words.size() < 3 || words.size() % 2 == 0 || words.back().getAsDouble(loss);
    for (size_t i = 0; !damaged && i < switched.size(); ++i)
      damaged = words[2 * i].getAsInteger(10, switched[i].first) || words[2 * i + 1].getAsInteger(10, switched[i].second);
    if (damaged)
      return userError("'" + result.folder->getPath(kFile) + "' is damaged; remove it to measure again");
    result.losses[std::move(switched)] = loss;
  }
  return result;
}

std::optional<double> LossStore::find(const Key &switched) const {
  auto it = losses.find(switched);
  return it == losses.end() ? std::nullopt : std::optional<double>(it->second);
}

llvm::Error LossStore::add(const Key &switched, double loss) {
  losses[switched] = loss;
  if (!folder)
    return llvm::Error::success();
  // All of it again: the file appears complete or not at all.
  return llvm::writeToOutput(folder->getPath(kFile), [&](llvm::raw_ostream &os) {
    for (auto &[key, value] : losses) {
      for (auto [layer, candidate] : key)
        os << layer << ' ' << candidate << ' ';
      os << llvm::format("%.17g", value) << '\n';
    }
    return llvm::Error::success();
  });
}
