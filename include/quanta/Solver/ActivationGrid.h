//===- ActivationGrid.h - Quantizers with one set of parameters for a tensor ----------------------------------*- C++ -*-===//
//
// Codes are unsigned, of `bits` bits.
//
// Twin uniform: Z. Yuan et al., PTQ4ViT, 2021, Sec. 3.2. Logarithms: Y. Lin et al., FQ-ViT, 2021; Z. Li et al., RepQ-ViT, 2022.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_SOLVER_ACTIVATIONGRID_H
#define QUANTA_SOLVER_ACTIVATIONGRID_H

#include "quanta/Support/MatrixView.h"
#include <vector>

namespace quanta {

/// With n = 2^(bits−1) the twin formats have a code of one flag, the highest bit, and a magnitude q below n.
enum class ActivationFormat : uint8_t {
  Uniform,    ///< scale · (code − zero)
  Twin,       ///< of values ≥ 0: flag 0: scale · q, flag 1: scale · 2^shift · q; what is below n · scale has flag 0
  TwinSigned, ///< flag 0: −scale · q, flag 1: scale · 2^shift · q
  Log2,       ///< scale · 2^(−code); the highest code is zero
  LogRoot2,   ///< scale · √2^(−code); the highest code is zero
};

struct ActivationGrid {
  ActivationFormat format = ActivationFormat::Uniform;
  unsigned bits = 8;  ///< 2 to 8
  double scale = 1;   ///< above 0
  int zero = 0;       ///< of Uniform: the code of zero
  unsigned shift = 0; ///< of the twin formats

  int highestCode() const { return (1 << bits) - 1; }
  /// Of Uniform: code 0 is not used with 8 bits, so that codes around 128 have magnitudes of at most 127.
  int lowestCode() const { return bits == 8; }
  /// The nearest value within a region, halves to even; of the logarithms the nearest exponent.
  uint8_t encode(double value) const;
  double decode(uint8_t code) const;
  double round(double value) const { return decode(encode(value)); }
  /// Of Uniform and the twin formats, the integer that an exact product multiplies: the value in units of `scale`.
  int64_t getInteger(uint8_t code) const;
};

/// The exponent that a logarithm is rounded to, −log(value/scale) to base 2 or √2, and its value; zero from `levels` on. The
/// formats above are this with 2^bits − 1 levels, because a zero needs a code as well; FQ-ViT and RepQ-ViT count 2^bits.
double roundExponent(double value, double scale, bool root);
double decodeExponent(double exponent, double scale, bool root, double levels);

/// What a tensor spans.
struct ValueRange {
  double min = 0, max = 0;
};
ValueRange findRange(MatrixView values);

/// Factors of the range that a search tries: least + i · (most − least) / count for i below count.
struct CandidateOptions {
  double least = 0.01, most = 1.2; // PTQ4ViT's
  unsigned count = 100;
};

/// The grid that covers a range times `factor`. Uniform is symmetric: ±max|x| is 2^bits − 1 steps, zero the middle code.
/// TwinSigned: the coarse step covers max times the factor, the fine one is the least of it times 2^(−shift) that covers min.
/// Twin: coarse steps of 2^(1−bits), whatever the range is; `factor` is 2^(−shift).
ActivationGrid fitGrid(ActivationFormat format, unsigned bits, ValueRange range, double factor = 1);
/// The same for Uniform with a zero point where the range, which is made to contain 0, wants it.
ActivationGrid fitAffineGrid(unsigned bits, ValueRange range, double factor = 1);

/// Those that a search tries: fitGrid for the options' factors, of Twin for shifts from 0 to 15. `affine`: fitAffineGrid.
std::vector<ActivationGrid> makeCandidates(ActivationFormat format, bool affine, unsigned bits, ValueRange range,
                                           const CandidateOptions &options);

/// The one of fitAffineGrid's for the options' factors that leaves the least squared error of the values themselves.
ActivationGrid fitToValues(MatrixView values, unsigned bits, const CandidateOptions &options);

} // namespace quanta

#endif // QUANTA_SOLVER_ACTIVATIONGRID_H
