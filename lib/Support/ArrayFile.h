//===- ArrayFile.h - What arrays and their files share ------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_SUPPORT_ARRAYFILE_H
#define QUANTA_LIB_SUPPORT_ARRAYFILE_H

#include "quanta/Support/Npy.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <optional>

namespace quanta {

/// Number of elements; none for negative sizes and overflow, also of the sizes beside a zero.
std::optional<int64_t> countElements(llvm::ArrayRef<int64_t> shape, size_t bytesEach);
/// Memory aligned to a cache line, or null.
std::shared_ptr<char> allocateAligned(size_t bytes);
/// Maps a regular file: devices and pipes have no end that could be checked.
llvm::Expected<std::shared_ptr<llvm::MemoryBuffer>> openFile(llvm::StringRef path);
/// The file appears complete or not at all.
llvm::Error writeFile(llvm::StringRef path, llvm::function_ref<void(llvm::raw_ostream &)> write);
/// What stands in front of an array's elements in an .npy file.
std::string makeNpyHeader(const Array &array);

} // namespace quanta

#endif // QUANTA_LIB_SUPPORT_ARRAYFILE_H
