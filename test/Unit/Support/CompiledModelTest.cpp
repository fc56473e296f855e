//===- CompiledModelTest.cpp - Loading and running a shared library -------------------------------------------------------===//
#include "quanta/Support/CompiledModel.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace quanta;

namespace {
Array ramp(DType type, int64_t rows) {
  std::vector<float> values(static_cast<size_t>(rows * 3));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  return cantFail(Array::copyOf<float>(DType::F32, {rows, 3}, values).convertTo(type));
}

TEST(CompiledModel, Runs) {
  auto model = CompiledModel::load(QUANTA_TEST_MODEL, {});
  ASSERT_TRUE(static_cast<bool>(model)) << toString(model.takeError());
  EXPECT_EQ((*model)->getName(), "hand");
  EXPECT_EQ((*model)->getInputs()[0].describe(), "?x3xf32");
  for (int64_t rows : {1, 5, 0}) {
    double seconds = -1;
    // Other widths of floats are converted.
    auto outputs = (*model)->run({{"a", ramp(DType::F64, rows)}, {"b", ramp(DType::F16, rows)}}, &seconds);
    ASSERT_TRUE(static_cast<bool>(outputs)) << toString(outputs.takeError());
    EXPECT_GE(seconds, 0);
    const Array &y = outputs->at("y");
    EXPECT_EQ(y.getShape(), (ArrayRef<int64_t>{rows, 3}));
    for (int64_t i = 0; i < y.getElementCount(); ++i)
      EXPECT_EQ(y.getDouble(i), 3 * static_cast<double>(i));
  }
  EXPECT_EQ(toString((*model)->reset()), "");

  auto error = [&](const ArrayMap &arrays) { return toString((*model)->run(arrays).takeError()); };
  EXPECT_NE(error({{"a", ramp(DType::F32, 1)}}).find("input 'b' (?x3xf32) is missing"), std::string::npos);
  EXPECT_NE(error({{"c", ramp(DType::F32, 1)}}).find("has no input 'c'"), std::string::npos);
  EXPECT_NE(error({{"a", ramp(DType::F32, 1)}, {"b", ramp(DType::F32, 2)}}).find("'batch'"), std::string::npos);
  EXPECT_NE(error({{"a", Array::zeros(DType::I32, {1, 3})}, {"b", ramp(DType::F32, 1)}}).find("cannot convert"),
            std::string::npos);
}

TEST(CompiledModel, WrongFilesAreRefused) {
  for (const char *path : {"/nonexistent.so", "/dev/null", "/proc/self/exe"}) {
    auto model = CompiledModel::load(path, {});
    ASSERT_FALSE(static_cast<bool>(model));
    EXPECT_NE(toString(model.takeError()).find(path), std::string::npos);
  }
}
} // namespace
