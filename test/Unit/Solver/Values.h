//===- Values.h - Numbers of a file with known results --------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TEST_UNIT_SOLVER_VALUES_H
#define QUANTA_TEST_UNIT_SOLVER_VALUES_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <cmath>

namespace quanta::test {

/// A file of Oracles/; nested lists of numbers are read row by row.
class Values {
public:
  explicit Values(const char *name) {
    auto buffer = llvm::MemoryBuffer::getFile(std::string(QUANTA_ORACLES "/") + name);
    if (!buffer)
      return;
    if (auto parsed = llvm::json::parse((*buffer)->getBuffer()))
      root = std::move(*parsed);
  }

  std::vector<double> operator()(llvm::StringRef path) const {
    const llvm::json::Value *value = &root;
    for (llvm::StringRef key : llvm::split(path, '.')) {
      value = value && value->getAsObject() ? value->getAsObject()->get(key) : nullptr;
      EXPECT_TRUE(value) << path.str();
    }
    std::vector<double> result;
    if (value)
      flatten(*value, result);
    return result;
  }
  std::vector<float> floats(llvm::StringRef path) const {
    std::vector<double> values = (*this)(path);
    return {values.begin(), values.end()};
  }

private:
  static void flatten(const llvm::json::Value &value, std::vector<double> &result) {
    if (const llvm::json::Array *array = value.getAsArray())
      for (const llvm::json::Value &element : *array)
        flatten(element, result);
    else
      result.push_back(value.getAsNumber().value_or(NAN));
  }

  llvm::json::Value root = nullptr;
};

inline void expectNear(const std::vector<double> &actual, const std::vector<double> &expected, double tolerance = 1e-9) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance) << "at " << i;
}

} // namespace quanta::test

#endif // QUANTA_TEST_UNIT_SOLVER_VALUES_H
