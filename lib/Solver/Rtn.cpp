//===- Rtn.cpp - Round to nearest ----------------------------------------------------------------------------------------===//
#include "quanta/Solver/Rtn.h"
#include "quanta/Solver/UniformGrid.h"
#include <algorithm>

namespace quanta {

float UniformResult::decode(int64_t row, int64_t column) const {
  int64_t index = (scaleRows == 1 ? 0 : row) * groups + (groupColumns ? column / groupColumns : 0);
  return decodeUniform(codes[row * columns + column], getGrid(*this, index), options);
}

void UniformResult::decode(float *out) const {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      *out++ = decode(row, column);
}

UniformResult quantizeRtn(MatrixView weights, const UniformOptions &options) {
  int64_t rows = weights.rows(), columns = weights.columns();
  if (!isFinite(weights)) {
    UniformResult result = makeUniformResult(0, 0, options);
    result.rows = rows;
    result.columns = columns;
    result.nonFinite = true;
    return result;
  }
  UniformResult result = makeUniformResult(rows, columns, options);
  std::vector<double> values;
  for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow) {
    bool whole = options.group < 0;
    int64_t rowBegin = whole ? 0 : scaleRow, rowEnd = whole ? rows : scaleRow + 1;
    for (int64_t group = 0; group < result.groups; ++group) {
      int64_t begin = group * result.groupColumns, end = std::min(begin + result.groupColumns, columns);
      values.clear();
      for (int64_t row = rowBegin; row < rowEnd; ++row)
        values.insert(values.end(), weights.row(row) + begin, weights.row(row) + end);
      UniformGrid grid = fitUniformGrid({values.data(), rowEnd - rowBegin, end - begin}, options);
      setGrid(result, scaleRow * result.groups + group, grid);
      for (int64_t row = rowBegin; row < rowEnd; ++row)
        for (int64_t column = begin; column < end; ++column)
          result.codes[row * columns + column] = encodeUniform(weights(row, column), grid, options);
    }
  }
  measureError(weights, result);
  return result;
}

} // namespace quanta
