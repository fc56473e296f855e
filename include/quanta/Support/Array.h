//===- Array.h - Dense arrays of numbers --------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_ARRAY_H
#define QUANTA_SUPPORT_ARRAY_H

#include "quanta/Support/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <map>
#include <memory>
#include <string>
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

using ArrayMap = std::map<std::string, Array>;

} // namespace quanta

#endif // QUANTA_SUPPORT_ARRAY_H
