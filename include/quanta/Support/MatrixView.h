//===- MatrixView.h - A matrix of floats in someone else's memory ---------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_MATRIXVIEW_H
#define QUANTA_SUPPORT_MATRIXVIEW_H

#include <cassert>
#include <cstdint>

namespace quanta {

/// Row-major, rows `stride` elements apart. `T` is `float` or `const float`.
template <typename T> class BasicMatrixView {
public:
  BasicMatrixView() = default;
  BasicMatrixView(T *data, int64_t rows, int64_t columns, int64_t stride)
      : data(data), rowCount(rows), columnCount(columns), rowStride(stride) {
    assert(rows >= 0 && columns >= 0 && stride >= columns);
  }
  BasicMatrixView(T *data, int64_t rows, int64_t columns) : BasicMatrixView(data, rows, columns, columns) {}

  int64_t rows() const { return rowCount; }
  int64_t columns() const { return columnCount; }
  int64_t stride() const { return rowStride; }

  T *row(int64_t r) const { return data + r * rowStride; }
  T &operator()(int64_t r, int64_t c) const {
    assert(r >= 0 && r < rowCount && c >= 0 && c < columnCount);
    return data[r * rowStride + c];
  }

  /// The part with `rows` rows and `columns` columns whose first element is (row, column).
  BasicMatrixView block(int64_t row, int64_t column, int64_t rows, int64_t columns) const {
    assert(row + rows <= rowCount && column + columns <= columnCount);
    return {data + row * rowStride + column, rows, columns, rowStride};
  }

  operator BasicMatrixView<const T>() const { return {data, rowCount, columnCount, rowStride}; }

private:
  T *data = nullptr;
  int64_t rowCount = 0, columnCount = 0, rowStride = 0;
};

using MatrixView = BasicMatrixView<const float>;
using MutableMatrixView = BasicMatrixView<float>;

} // namespace quanta

#endif // QUANTA_SUPPORT_MATRIXVIEW_H
