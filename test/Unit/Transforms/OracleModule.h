//===- OracleModule.h - Small models from files of numbers ------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TEST_UNIT_TRANSFORMS_ORACLEMODULE_H
#define QUANTA_TEST_UNIT_TRANSFORMS_ORACLEMODULE_H

#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

namespace mlir::quanta {

/// Null if the file is not there.
inline llvm::json::Value readOracle(StringRef name) {
  auto buffer = llvm::MemoryBuffer::getFile(Twine(QUANTA_TRANSFORM_ORACLES) + "/" + name + ".json");
  if (!buffer)
    return nullptr;
  auto parsed = llvm::json::parse((*buffer)->getBuffer());
  if (parsed)
    return std::move(*parsed);
  llvm::consumeError(parsed.takeError());
  return nullptr;
}

inline std::vector<double> numbers(const llvm::json::Value &value) {
  std::vector<double> result;
  if (const llvm::json::Array *array = value.getAsArray())
    for (const llvm::json::Value &element : *array)
      llvm::append_range(result, numbers(element));
  else
    result.push_back(value.getAsNumber().value_or(NAN));
  return result;
}

/// A constant of this shape.
inline std::string constant(StringRef name, ArrayRef<double> data, ArrayRef<int64_t> shape) {
  std::string type = "tensor<";
  for (int64_t size : shape)
    type += std::to_string(size) + "x";
  type += "f32>";
  std::vector<float> floats(data.begin(), data.end());
  return ("  %" + name + " = arith.constant dense<\"0x" +
          llvm::toHex(StringRef(reinterpret_cast<const char *>(floats.data()), floats.size() * 4)) + "\"> : " + type + " loc(\"" +
          name + "\")\n")
      .str();
}

inline std::vector<int32_t> toOrder(ArrayRef<double> numbers) { return {numbers.begin(), numbers.end()}; }

} // namespace mlir::quanta
#endif
