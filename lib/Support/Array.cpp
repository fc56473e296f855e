//===- Array.cpp - Dense arrays of numbers ----------------------------------------------------------------------------===//
#include "quanta/Support/Array.h"
#include "ArrayFile.h"
#include "quanta/Support/Half.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cstdlib>
#include <limits>

using namespace llvm;

namespace quanta {

namespace {
constexpr struct {
  const char *name;
  unsigned bytes;
} kTypes[] = {{"f32", 4}, {"f16", 2}, {"f64", 8}, {"i8", 1},  {"u8", 1},  {"i16", 2},
              {"u16", 2}, {"i32", 4}, {"u32", 4}, {"i64", 8}, {"u64", 8}, {"bool", 1}};

// Calls fn with a value of the C++ type of an integer type.
template <typename Fn> auto withIntType(DType type, Fn fn) {
  switch (type) {
  case DType::I8:
    return fn(int8_t());
  case DType::I16:
    return fn(int16_t());
  case DType::U16:
    return fn(uint16_t());
  case DType::I32:
    return fn(int32_t());
  case DType::U32:
    return fn(uint32_t());
  case DType::I64:
    return fn(int64_t());
  case DType::U64:
    return fn(uint64_t());
  default: // u8 and bool
    return fn(uint8_t());
  }
}
} // namespace

size_t getByteWidth(DType type) { return kTypes[static_cast<size_t>(type)].bytes; }
StringRef getName(DType type) { return kTypes[static_cast<size_t>(type)].name; }
bool isFloat(DType type) { return type <= DType::F64; }

std::string describe(DType type, ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (size < 0 ? "?" : std::to_string(size)) + "x";
  return text + kTypes[static_cast<size_t>(type)].name;
}

std::optional<int64_t> countElements(ArrayRef<int64_t> shape, size_t bytesEach) {
  int64_t count = 1, bytes = static_cast<int64_t>(bytesEach);
  for (int64_t size : shape) {
    if (size < 0 || (size && __builtin_mul_overflow(bytes, size, &bytes)))
      return std::nullopt;
    count *= size;
  }
  return count;
}

std::shared_ptr<char> allocateAligned(size_t bytes) {
  size_t rounded = (bytes + 63) / 64 * 64 + 64;
  if (rounded < bytes)
    return nullptr;
  return {static_cast<char *>(std::aligned_alloc(64, rounded)), [](char *p) { std::free(p); }};
}

Array Array::view(DType type, std::vector<int64_t> shape, const char *data, std::shared_ptr<const void> owner) {
  Array result;
  result.type = type;
  result.count = *countElements(shape, quanta::getByteWidth(type));
  result.shape = std::move(shape);
  result.elements = data;
  result.owner = std::move(owner);
  return result;
}

Array Array::zeros(DType type, std::vector<int64_t> shape) {
  std::optional<int64_t> count = countElements(shape, quanta::getByteWidth(type));
  size_t bytes = count ? static_cast<size_t>(*count) * quanta::getByteWidth(type) : 0;
  std::shared_ptr<char> memory = count ? allocateAligned(bytes) : nullptr;
  if (!memory)
    report_bad_alloc_error("an array does not fit into memory");
  std::fill_n(memory.get(), bytes, 0);
  const char *data = memory.get();
  return view(type, std::move(shape), data, std::move(memory));
}

double Array::getDouble(int64_t index) const {
  switch (type) {
  case DType::F32:
    return as<float>()[index];
  case DType::F16:
    return halfToFloat(as<uint16_t>()[index]);
  case DType::F64:
    return as<double>()[index];
  default:
    return withIntType(type, [&](auto zero) { return static_cast<double>(as<decltype(zero)>()[index]); });
  }
}

int64_t Array::getInt(int64_t index) const {
  return withIntType(type, [&](auto zero) { return static_cast<int64_t>(as<decltype(zero)>()[index]); });
}

Array Array::slice(int64_t begin, int64_t end) const {
  assert(!shape.empty() && begin >= 0 && begin <= end && end <= shape[0]);
  std::vector<int64_t> newShape = shape;
  newShape[0] = end - begin;
  size_t row = shape[0] ? getByteSize() / static_cast<size_t>(shape[0]) : 0;
  return view(type, std::move(newShape), elements + static_cast<size_t>(begin) * row, owner);
}

Array Array::reshaped(std::vector<int64_t> newShape) const {
  Array result = view(type, std::move(newShape), elements, owner);
  assert(result.count == count);
  return result;
}

template <typename From, typename To> static bool convertInts(const Array &from, Array &to) {
  To *out = reinterpret_cast<To *>(to.mutableData());
  for (From value : from.as<From>()) {
    To converted = static_cast<To>(value);
    if (static_cast<From>(converted) != value || (converted < To(0)) != (value < From(0)))
      return false;
    *out++ = converted;
  }
  return true;
}

Expected<Array> Array::convertTo(DType newType) const {
  if (newType == type)
    return *this;
  if (isFloat(type) != isFloat(newType) || newType == DType::Bool)
    return userError("cannot convert " + describe() + " to " + getName(newType));
  Array result = zeros(newType, shape);
  if (!isFloat(type)) {
    bool fits = withIntType(type, [&](auto from) {
      return withIntType(newType,
                         [&](auto to) { return convertInts<decltype(from), decltype(to)>(*this, result); });
    });
    if (!fits)
      return userError("a value of " + describe() + " does not fit into " + getName(newType));
    return result;
  }
  for (int64_t i = 0; i < count; ++i) {
    double value = getDouble(i);
    if (newType == DType::F64)
      reinterpret_cast<double *>(result.mutableData())[i] = value;
    else if (newType == DType::F32)
      reinterpret_cast<float *>(result.mutableData())[i] = static_cast<float>(value);
    else
      reinterpret_cast<uint16_t *>(result.mutableData())[i] = floatToHalf(static_cast<float>(value));
  }
  return result;
}

} // namespace quanta
