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

/// A line for each loss: layer, candidate, loss.
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
    llvm::SmallVector<StringRef, 3> words;
    line.split(words, ' ');
    size_t layer, candidate;
    double loss;
    if (words.size() != 3 || words[0].getAsInteger(10, layer) || words[1].getAsInteger(10, candidate) || words[2].getAsDouble(loss))
      return userError("'" + result.folder->getPath(kFile) + "' is damaged; remove it to measure again");
    result.losses[{layer, candidate}] = loss;
  }
  return result;
}

std::optional<double> LossStore::find(size_t layer, size_t candidate) const {
  auto it = losses.find({layer, candidate});
  return it == losses.end() ? std::nullopt : std::optional<double>(it->second);
}

llvm::Error LossStore::add(size_t layer, size_t candidate, double loss) {
  losses[{layer, candidate}] = loss;
  if (!folder)
    return llvm::Error::success();
  // All of it again: the file appears complete or not at all.
  return llvm::writeToOutput(folder->getPath(kFile), [&](llvm::raw_ostream &os) {
    for (auto &[key, value] : losses)
      os << key.first << ' ' << key.second << ' ' << llvm::format("%.17g", value) << '\n';
    return llvm::Error::success();
  });
}
