//===- Oracle.h - Cases with known results --------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TEST_UNIT_SOLVER_ORACLE_H
#define QUANTA_TEST_UNIT_SOLVER_ORACLE_H

#include "quanta/Solver/Sweep.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <random>

namespace quanta::test {

struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> data;

  operator MatrixViewF64() const { return {data.data(), rows, columns}; }
  double operator()(int64_t row, int64_t column) const { return data[static_cast<size_t>(row * columns + column)]; }
  std::vector<float> floats() const { return {data.begin(), data.end()}; }
};

/// One case of Oracles/<file>.json: {name, params, input, expected, tol}. An array is {shape, data} or a plain list.
class Oracle {
public:
  Oracle(llvm::StringRef file, llvm::StringRef name) {
    auto buffer = llvm::MemoryBuffer::getFile(QUANTA_ORACLES "/" + file.str() + ".json");
    if (!buffer)
      return;
    llvm::Expected<llvm::json::Value> parsed = llvm::json::parse((*buffer)->getBuffer());
    if (!parsed) {
      llvm::consumeError(parsed.takeError());
      return;
    }
    const llvm::json::Array *cases = parsed->getAsObject() ? parsed->getAsObject()->getArray("cases") : nullptr;
    if (!cases)
      return;
    for (const llvm::json::Value &value : *cases)
      if (value.getAsObject()->getString("name") == name)
        object = *value.getAsObject();
    EXPECT_FALSE(object.empty()) << name.str();
  }

  bool valid() const { return !object.empty(); }
  double tolerance() const { return object.getNumber("tol").value_or(0); }
  double number(llvm::StringRef part, llvm::StringRef key) const {
    return object.getObject(part)->getNumber(key).value_or(NAN);
  }
  Matrix matrix(llvm::StringRef part, llvm::StringRef key) const {
    Matrix result;
    const llvm::json::Value *value = object.getObject(part)->get(key);
    const llvm::json::Array *data = value->getAsArray();
    if (const llvm::json::Object *array = value->getAsObject()) {
      data = array->getArray("data");
      const llvm::json::Array &shape = *array->getArray("shape");
      result.rows = shape.size() > 1 ? *shape[0].getAsInteger() : 1;
      result.columns = *shape.back().getAsInteger();
    } else {
      result.rows = 1;
      result.columns = static_cast<int64_t>(data->size());
    }
    for (const llvm::json::Value &entry : *data)
      result.data.push_back(entry.getAsBoolean().value_or(false) ? 1 : entry.getAsNumber().value_or(0));
    return result;
  }
  Matrix input(llvm::StringRef key) const { return matrix("input", key); }
  Matrix expected(llvm::StringRef key) const { return matrix("expected", key); }

private:
  llvm::json::Object object;
};

template <typename A, typename B> void expectNear(const A &actual, const B &expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], tolerance) << "at " << i;
}

/// Weights with a few large columns, and the Hessian of inputs that are correlated.
inline Matrix randomWeights(int64_t rows, int64_t columns, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::student_t_distribution<double> distribution(5);
  Matrix result{rows, columns, std::vector<double>(static_cast<size_t>(rows * columns))};
  for (double &value : result.data)
    value = static_cast<float>(0.05 * distribution(random));
  return result;
}

inline Matrix randomInputs(int64_t tokens, int64_t columns, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Matrix result{tokens, columns, std::vector<double>(static_cast<size_t>(tokens * columns))};
  for (int64_t t = 0; t < tokens; ++t) {
    double common = normal(random);
    for (int64_t j = 0; j < columns; ++j)
      result.data[static_cast<size_t>(t * columns + j)] = (normal(random) + common) / (1 + j % 7);
  }
  return result;
}

/// (2/T)·AᵀB
inline Matrix moment(const Matrix &a, const Matrix &b) {
  Matrix result{a.columns, b.columns, std::vector<double>(static_cast<size_t>(a.columns * b.columns))};
  for (int64_t t = 0; t < a.rows; ++t)
    for (int64_t i = 0; i < a.columns; ++i)
      for (int64_t j = 0; j < b.columns; ++j)
        result.data[static_cast<size_t>(i * b.columns + j)] += 2.0 / a.rows * a(t, i) * b(t, j);
  return result;
}

} // namespace quanta::test

#endif // QUANTA_TEST_UNIT_SOLVER_ORACLE_H
