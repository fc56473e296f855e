//===- Rtn.cpp - Round to nearest ----------------------------------------------------------------------------------------===//
#include "quanta/Solver/Rtn.h"
#include "quanta/Solver/Multiples.h"
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
  MultipleFitter multiples(options);
  for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow) {
    bool whole = options.group < 0;
    int64_t rowBegin = whole ? 0 : scaleRow, rowEnd = whole ? rows : scaleRow + 1;
    std::vector<UniformGrid> grids;
    for (int64_t group = 0; group < result.groups; ++group) {
      int64_t begin = group * result.groupColumns, end = std::min(begin + result.groupColumns, columns);
      std::vector<double> values;
      for (int64_t row = rowBegin; row < rowEnd; ++row)
        values.insert(values.end(), weights.row(row) + begin, weights.row(row) + end);
      MatrixViewF64 part(values.data(), rowEnd - rowBegin, end - begin);
      grids.push_back(fitUniformGrid(part, options));
      if (options.multiples)
        multiples.add(grids.back(), part, nullptr);
    }
    if (options.multiples)
      grids = multiples.fit();
    for (int64_t group = 0; group < result.groups; ++group)
      setGrid(result, scaleRow * result.groups + group, grids[group]);
    for (int64_t row = rowBegin; row < rowEnd; ++row)
      for (int64_t column = 0; column < columns; ++column)
        result.codes[row * columns + column] = encodeUniform(weights(row, column), grids[column / result.groupColumns], options);
  }
  measureError(weights, result);
  return result;
}

} // namespace quanta
