//===- Hadamard.h - Orthogonal matrices of ±1 -------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SOLVER_HADAMARD_H
#define QUANTA_SOLVER_HADAMARD_H

#include <cstdint>
#include <optional>
#include <vector>

namespace quanta {

/// A Hadamard matrix H of order n = base · 2^k, times 1/√n: the Kronecker product of a base matrix and Sylvester's.
/// Bases are Paley's: of order q + 1 for a prime power q ≡ 3 mod 4, and 2(q + 1) for q ≡ 1 mod 4, and products of
/// these; so 384 is 12 · 32 and 11008 is 344 · 32 (q = 7³).
class Hadamard {
public:
  /// Nothing if no construction is known for n (n must be 1, 2 or a multiple of 4, and not all of these are reached).
  static std::optional<Hadamard> create(int64_t n);

  int64_t size() const { return n; }
  int64_t getBaseSize() const { return base; }
  /// ±1, row-major.
  const std::vector<int8_t> &getBase() const { return matrix; }

  /// Row vectors x[n] → x·H/√n, in place. O(n · (base + k)).
  void apply(double *x) const;
  /// x → x·Hᵀ/√n, the inverse.
  void applyTransposed(double *x) const;

private:
  void apply(double *x, bool transposed) const;

  int64_t n = 1, base = 1;
  std::vector<int8_t> matrix = {1};
};

/// Signs ±1 from a seed, the same on every machine.
std::vector<int8_t> randomSigns(int64_t count, uint64_t seed);

} // namespace quanta

#endif // QUANTA_SOLVER_HADAMARD_H
