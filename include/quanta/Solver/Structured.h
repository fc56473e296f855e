//===- Structured.h - A few columns of more bits, the others binary -------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_STRUCTURED_H
#define QUANTA_SOLVER_STRUCTURED_H

#include "quanta/Solver/Binary.h"

namespace quanta {

/// Which columns the sweep quantizes first. Errors of binary columns are compensated by salient ones only if these are
/// last.
enum class StructuredOrder : uint8_t { SalientLast, SalientFirst, Natural };

struct StructuredOptions {
  unsigned highBits = 4; ///< of the weights in salient columns, 1 to 8
  StructuredOrder order = StructuredOrder::SalientLast;
  BinaryScale scale = BinaryScale::Exact; ///< PTQ1.61: Uncentred, which also leaves out weights that are zero
  double multiplier = 1;                  ///< of α during the sweep
  /// The range of the salient weights of a row is that of the whole original row, as in PTQ1.61's code; else that of
  /// the salient weights when the sweep reaches them.
  bool fullRowRange = false;
  bool compensate = true; ///< by the sweep, else round to nearest
  int rounds = 3;         ///< of refinement
  bool halfScale = true;  ///< scales and means are stored as f16, else f32
  FactorOptions factor;   ///< of the sweep; the order is ignored
};

/// PTQ1.61's format without its learned scales: salient columns are highScale·(code − highZero) of the row, the others
/// mean + scale or mean − scale (code 1, 0).
struct StructuredResult {
  StructuredOptions options;
  int64_t rows = 0, columns = 0;
  std::vector<uint8_t> salient;     ///< [columns]
  std::vector<uint8_t> codes;       ///< [rows, columns]
  std::vector<float> scales, means; ///< [rows], exactly representable in their type
  std::vector<float> highScales;    ///< [rows]
  std::vector<uint8_t> highZeros;   ///< [rows]
  double loss = 0;                  ///< tr((W − Ŵ)·H·(W − Ŵ)ᵀ) with the H that was given
  double error = 0;                 ///< Σ(w − ŵ)²/Σw²
  bool nonFinite = false;           ///< the matrix holds an infinity or NaN; nothing else is set
  bool needsF32Scale = false;       ///< as in UniformResult

  float decode(int64_t row, int64_t column) const;
  /// Codes, a bit a column, and of each row three scales and a zero of highBits bits.
  int64_t storedBits() const;
};

/// A sweep in the given order, then rounds in which the binary part (μ and α exactly, signs by descent) and the codes
/// of the salient part (by descent) are chosen in turn with the other part fixed; these never raise the loss but for
/// the rounding of scales. `salient` as from columnMask or activationMask.
///
/// With Q_s fixed the best Q_b approximates V = W_b + (W − Q)_s·H_sb·H_bb⁻¹ under H_bb. Only V·H_bb enters the descent
/// and the normal equations, so H_bb need not be inverted.
StructuredResult quantizeStructured(MatrixView weights, MatrixViewF64 hessian, const std::vector<uint8_t> &salient,
                                    const StructuredOptions &options);

} // namespace quanta

#endif // QUANTA_SOLVER_STRUCTURED_H
