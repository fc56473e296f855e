//===- Hadamard.cpp - Orthogonal matrices of ±1 ---------------------------------------------------------------------------===//
//
// R. E. A. C. Paley, On orthogonal matrices, 1933: from the quadratic residues of the field of q elements.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Solver/Hadamard.h"
#include <cmath>
#include <random>

using namespace quanta;

namespace {

/// Largest order of a base; its matrix is stored.
constexpr int64_t kMaxBase = 1024;

struct PrimePower {
  int64_t prime, exponent;
};

std::optional<PrimePower> findPrimePower(int64_t q) {
  for (int64_t p = 2; p * p <= q; ++p) {
    if (q % p)
      continue;
    int64_t exponent = 0;
    for (; q % p == 0; q /= p)
      ++exponent;
    return q == 1 ? std::optional(PrimePower{p, exponent}) : std::nullopt;
  }
  return q > 1 ? std::optional(PrimePower{q, 1}) : std::nullopt;
}

/// The field of p^k elements; element Σ aᵢ·pⁱ stands for the polynomial Σ aᵢ·xⁱ.
class Field {
public:
  explicit Field(PrimePower power) : p(power.prime), k(power.exponent) {
    q = 1;
    for (int64_t i = 0; i < k; ++i)
      q *= p;
    // A polynomial x^k − r is irreducible if no product of two smaller ones is it; then every nonzero element has order
    // dividing q − 1 and multiplication has no zero divisors, which is what is checked.
    for (reduction = 1; reduction < q; ++reduction)
      if (k == 1 || hasNoZeroDivisors())
        break;
  }
  int64_t size() const { return q; }

  int64_t subtract(int64_t a, int64_t b) const {
    int64_t result = 0, place = 1;
    for (int64_t i = 0; i < k; ++i, place *= p, a /= p, b /= p)
      result += ((a % p - b % p + p) % p) * place;
    return result;
  }
  int64_t multiply(int64_t a, int64_t b) const {
    std::vector<int64_t> x = digits(a), y = digits(b), product(2 * k - 1), r = digits(reduction);
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j)
        product[i + j] = (product[i + j] + x[i] * y[j]) % p;
    // x^k = r(x)
    for (int64_t i = 2 * k - 2; i >= k; --i) {
      int64_t factor = product[i];
      product[i] = 0;
      for (int64_t j = 0; j < k; ++j)
        product[i - k + j] = (product[i - k + j] + factor * r[j]) % p;
    }
    int64_t result = 0;
    for (int64_t i = k; i-- > 0;)
      result = result * p + product[i];
    return result;
  }
  /// 0 for 0, 1 for squares, −1 for others.
  std::vector<int8_t> quadraticCharacter() const {
    std::vector<int8_t> chi(q, -1);
    chi[0] = 0;
    for (int64_t a = 1; a < q; ++a)
      chi[multiply(a, a)] = 1;
    return chi;
  }

private:
  std::vector<int64_t> digits(int64_t a) const {
    std::vector<int64_t> result(k);
    for (int64_t &digit : result) {
      digit = a % p;
      a /= p;
    }
    return result;
  }
  bool hasNoZeroDivisors() const {
    for (int64_t a = 1; a < q; ++a)
      for (int64_t b = a; b < q; ++b)
        if (multiply(a, b) == 0)
          return false;
    return true;
  }

  int64_t p, k, q, reduction = 1;
};

using Matrix = std::vector<int8_t>;

/// Order q + 1, q ≡ 3 mod 4.
Matrix paleyOne(const Field &field) {
  int64_t q = field.size(), n = q + 1;
  std::vector<int8_t> chi = field.quadraticCharacter();
  Matrix result(n * n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      // I + S with S = [0 1; −1 Q].
      result[i * n + j] = i == 0 ? 1 : j == 0 ? -1 : i == j ? 1 : chi[field.subtract(i - 1, j - 1)];
  return result;
}

/// Order 2(q + 1), q ≡ 1 mod 4: zeros of the symmetric conference matrix become [1 −1; −1 −1], ±1 become ±[1 1; 1 −1].
Matrix paleyTwo(const Field &field) {
  int64_t q = field.size(), c = q + 1, n = 2 * c;
  std::vector<int8_t> chi = field.quadraticCharacter();
  Matrix result(n * n);
  for (int64_t i = 0; i < c; ++i)
    for (int64_t j = 0; j < c; ++j) {
      int8_t s = i == j ? 0 : i == 0 || j == 0 ? 1 : chi[field.subtract(i - 1, j - 1)];
      int8_t block[4] = {s, s, s, static_cast<int8_t>(-s)};
      if (s == 0) {
        block[0] = 1;
        block[1] = block[2] = block[3] = -1;
      }
      for (int64_t a = 0; a < 4; ++a)
        result[(2 * i + a / 2) * n + 2 * j + a % 2] = block[a];
    }
  return result;
}

Matrix kronecker(const Matrix &a, int64_t n, const Matrix &b, int64_t m) {
  Matrix result(n * n * m * m);
  for (int64_t i = 0; i < n * m; ++i)
    for (int64_t j = 0; j < n * m; ++j)
      result[i * n * m + j] = a[i / m * n + j / m] * b[i % m * m + j % m];
  return result;
}

std::optional<Matrix> findBase(int64_t n) {
  if (n == 1)
    return Matrix{1};
  if (n % 4 != 0 || n > kMaxBase)
    return std::nullopt;
  if (auto power = findPrimePower(n - 1); power && (n - 1) % 4 == 3)
    return paleyOne(Field(*power));
  if (auto power = findPrimePower(n / 2 - 1); power && (n / 2 - 1) % 4 == 1)
    return paleyTwo(Field(*power));
  for (int64_t left = 12; left * 12 <= n; left += 4)
    if (n % left == 0)
      if (auto a = findBase(left))
        if (auto b = findBase(n / left))
          return kronecker(*a, left, *b, n / left);
  return std::nullopt;
}

} // namespace

std::optional<Hadamard> Hadamard::create(int64_t n) {
  if (n < 1)
    return std::nullopt;
  int64_t odd = n;
  while (odd % 2 == 0)
    odd /= 2;
  // The smallest base leaves most of the work to the fast transform.
  for (int64_t base = odd; base <= n && base <= kMaxBase; base *= 2)
    if (auto matrix = findBase(base)) {
      Hadamard result;
      result.n = n;
      result.base = base;
      result.matrix = std::move(*matrix);
      return result;
    }
  return std::nullopt;
}

void Hadamard::apply(double *x) const { apply(x, false); }
void Hadamard::applyTransposed(double *x) const { apply(x, true); }

void Hadamard::apply(double *x, bool transposed) const {
  int64_t sylvester = n / base;
  for (int64_t block = 0; block < base; ++block) {
    double *part = x + block * sylvester;
    for (int64_t half = 1; half < sylvester; half *= 2)
      for (int64_t i = 0; i < sylvester; i += 2 * half)
        for (int64_t j = i; j < i + half; ++j) {
          double a = part[j], b = part[j + half];
          part[j] = a + b;
          part[j + half] = a - b;
        }
  }
  std::vector<double> column(base);
  double norm = 1 / std::sqrt(static_cast<double>(n));
  for (int64_t j = 0; j < sylvester; ++j) {
    for (int64_t c = 0; c < base; ++c) {
      double sum = 0;
      for (int64_t r = 0; r < base; ++r)
        sum += x[r * sylvester + j] * matrix[transposed ? c * base + r : r * base + c];
      column[c] = sum * norm;
    }
    for (int64_t c = 0; c < base; ++c)
      x[c * sylvester + j] = column[c];
  }
}

std::vector<int8_t> quanta::randomSigns(int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed); // its sequence is fixed by the standard
  std::vector<int8_t> signs(static_cast<size_t>(count));
  for (int8_t &sign : signs)
    sign = random() >> 63 ? -1 : 1;
  return signs;
}
