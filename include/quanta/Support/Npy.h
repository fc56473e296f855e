//===- Npy.h - NumPy's array files ----------------------------------------------------------------------------*- C++ -*-===//
//
// Reading treats files as untrusted: whatever they hold, the result is an array or an error, and no more memory is taken
// than the file's size (times 1032, the most that deflate can expand) can account for.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SUPPORT_NPY_H
#define QUANTA_SUPPORT_NPY_H

#include "quanta/Support/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace quanta {

enum class DType : uint8_t { F32, F16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool };

size_t getByteWidth(DType type);
/// "f32", "i64", "bool" ...
llvm::StringRef getName(DType type);
bool isFloat(DType type);

/// "2x3xf32", as messages show an array's type.
std::string describe(DType type, llvm::ArrayRef<int64_t> shape);

/// A dense row-major array. Copies share the elements.
class Array {
public:
  Array() = default;
  /// All elements zero. The size must be one that fits into memory: it is not checked here.
  static Array zeros(DType type, std::vector<int64_t> shape);
  /// Elements at `data`, which `owner` keeps alive.
  static Array view(DType type, std::vector<int64_t> shape, const char *data, std::shared_ptr<const void> owner);
  template <typename T> static Array copyOf(DType type, std::vector<int64_t> shape, llvm::ArrayRef<T> values) {
    Array result = zeros(type, std::move(shape));
    assert(values.size() * sizeof(T) == result.getByteSize());
    std::copy_n(reinterpret_cast<const char *>(values.data()), result.getByteSize(), result.mutableData());
    return result;
  }

  DType getType() const { return type; }
  llvm::ArrayRef<int64_t> getShape() const { return shape; }
  int64_t getRank() const { return static_cast<int64_t>(shape.size()); }
  int64_t getElementCount() const { return count; }
  size_t getByteSize() const { return static_cast<size_t>(count) * getByteWidth(type); }
  std::string describe() const { return quanta::describe(type, shape); }

  const char *data() const { return elements; }
  /// Only for arrays made by zeros() and not shared yet.
  char *mutableData() { return const_cast<char *>(elements); }
  /// Elements as they are stored; `T` must have the type's size.
  template <typename T> llvm::ArrayRef<T> as() const {
    assert(sizeof(T) == getByteWidth(type));
    return {reinterpret_cast<const T *>(elements), static_cast<size_t>(count)};
  }
  /// Any element type as a number; 64-bit integers are rounded.
  double getDouble(int64_t index) const;
  /// Any integer type (or bool); u64 wraps.
  int64_t getInt(int64_t index) const;

  /// The part [begin, end) along the first dimension, sharing the elements.
  Array slice(int64_t begin, int64_t end) const;
  /// The same elements with another shape of the same size.
  Array reshaped(std::vector<int64_t> newShape) const;
  /// Between integer types (and bool to integer) if every value fits, and between floating-point types; else an error.
  llvm::Expected<Array> convertTo(DType newType) const;

private:
  DType type = DType::F32;
  std::vector<int64_t> shape = {0};
  int64_t count = 0;
  const char *elements = nullptr;
  std::shared_ptr<const void> owner;
};

/// The arrays of an .npz file in the file's order, keys without ".npy".
using NpzEntries = std::vector<std::pair<std::string, Array>>;
using ArrayMap = std::map<std::string, Array>;

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
