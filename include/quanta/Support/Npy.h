//===- Npy.h - NumPy's array files ----------------------------------------------------------------------------*- C++ -*-===//
//
// Reading treats files as untrusted: whatever they hold, the result is an array or an error, and no more memory is taken
// than the file's size (times 1032, the most that deflate can expand) can account for.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SUPPORT_NPY_H
#define QUANTA_SUPPORT_NPY_H

#include "quanta/Support/Array.h"
#include <utility>

namespace quanta {

/// The arrays of an .npz file in the file's order, keys without ".npy".
using NpzEntries = std::vector<std::pair<std::string, Array>>;

llvm::Expected<Array> readNpy(llvm::StringRef path);
llvm::Expected<NpzEntries> readNpz(llvm::StringRef path);
/// The same from memory; `name` stands for the file in messages and `owner` keeps `bytes` alive.
llvm::Expected<Array> parseNpy(llvm::StringRef bytes, llvm::StringRef name, std::shared_ptr<const void> owner);
llvm::Expected<NpzEntries> parseNpz(llvm::StringRef bytes, llvm::StringRef name, std::shared_ptr<const void> owner);

/// Files appear complete or not at all.
llvm::Error writeNpy(llvm::StringRef path, const Array &array);
llvm::Error writeNpz(llvm::StringRef path, const NpzEntries &entries);

struct NamedCase {
  std::string name; ///< empty if the file holds one case
  ArrayMap arrays;
};

/// Sorts the arrays of an .npz file into cases, in the order of their first key. If every key is one of `names` there is
/// one case; else each key must be CASE.NAME, where the longest NAME counts (names may contain dots). `file` is for
/// messages.
llvm::Expected<std::vector<NamedCase>> groupCases(const NpzEntries &entries, llvm::ArrayRef<std::string> names,
                                                  llvm::StringRef file);

} // namespace quanta

#endif // QUANTA_SUPPORT_NPY_H
