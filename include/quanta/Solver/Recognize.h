//===- Recognize.h - Weights that are quantized already -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_RECOGNIZE_H
#define QUANTA_SOLVER_RECOGNIZE_H

#include "quanta/Support/MatrixView.h"
#include <optional>
#include <vector>

namespace quanta {

enum class RecognizedKind : uint8_t {
  Binary,     ///< ±a:             scale·(2·code − 1)
  Ternary,    ///< −a, 0, a:       scale·(code − 1)
  PowerOfTwo, ///< 0 or ±a·2^e:    code 0 is 0, code 2e + 1 is scale·2^e, code 2e + 2 is −scale·2^e
  Uniform,    ///< multiples of a: scale·(code − zero)
};

struct RecognizeOptions {
  unsigned maxBits = 8;    ///< of a code, 1 to 8
  int64_t minColumns = 16; ///< of a group smaller than the matrix: a few weights may have a common scale by chance
  bool powersOfTwo = true; ///< whether to look for them
};

/// A matrix as codes and scales, in f32 arithmetic, that decode to exactly the weights (−0 may decode to 0).
struct RecognizedWeights {
  RecognizedKind kind = RecognizedKind::Binary;
  unsigned bits = 1; ///< of a code
  int64_t rows = 0, columns = 0;
  int64_t groupColumns = 0, groups = 0, scaleRows = 0; ///< scaleRows is 1 or rows; groupColumns divides columns
  std::vector<uint8_t> codes;                          ///< [rows, columns]
  std::vector<float> scales;                           ///< [scaleRows, groups]
  std::vector<uint8_t> zeros;                          ///< the same shape; only with Uniform

  float decode(int64_t row, int64_t column) const;
  int64_t storedBits() const; ///< codes, f32 scales, zeros of `bits` bits
};

/// Looks first for one scale for the matrix, then for a scale for each of 2, 3, 4, 6 or 8 column ranges (the shards of
/// a model that was trained in parallel), each row, each 256, 128, 64 or 32 columns of a row. Of the first of these
/// layouts that reproduces every weight exactly, the kind with the fewest bits, of equal ones the first in the order
/// above.
std::optional<RecognizedWeights> recognizeWeights(MatrixView weights, const RecognizeOptions &options = {});

} // namespace quanta

#endif // QUANTA_SOLVER_RECOGNIZE_H
