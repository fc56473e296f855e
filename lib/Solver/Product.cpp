//===- Product.cpp - Products of dense matrices ---------------------------------------------------------------------------===//
#include "Product.h"
#include <cstring>

namespace quanta {

namespace {
typedef double Vector __attribute__((vector_size(64)));
constexpr int64_t kLanes = sizeof(Vector) / sizeof(double);
constexpr int64_t kDepth = 128; ///< rows of `right` that are packed at a time, so that a panel stays in the first cache

struct Operands {
  const double *left, *right;
  double *result;
  int64_t rows, depth, columns, leftStride, rightStride;
};

/// Adds `Rows` rows of the product of left[Rows, depth] and a panel [depth, Vectors · kLanes] to the result, of which
/// `columns` columns exist. The accumulators are registers.
template <int Rows, int Vectors>
__attribute__((always_inline)) inline void addTile(const double *left, int64_t leftStride, const double *panel, int64_t depth,
                                                   double *result, int64_t resultStride, int64_t columns) {
  constexpr int64_t kWidth = Vectors * kLanes;
  Vector sums[Rows][Vectors] = {};
  for (int64_t k = 0; k < depth; ++k) {
    Vector values[Vectors];
    std::memcpy(values, panel + k * kWidth, sizeof(values));
    for (int i = 0; i < Rows; ++i)
      for (int v = 0; v < Vectors; ++v)
        sums[i][v] += values[v] * left[i * leftStride + k];
  }
  for (int i = 0; i < Rows; ++i) {
    double sum[kWidth];
    std::memcpy(sum, sums[i], sizeof(sum));
    for (int64_t j = 0; j < columns; ++j)
      result[i * resultStride + j] += sum[j];
  }
}

template <int Rows, int Vectors> __attribute__((always_inline)) inline void addProduct(const Operands &o) {
  constexpr int64_t kWidth = Vectors * kLanes;
  alignas(64) double panel[kDepth * kWidth];
  for (int64_t j = 0; j < o.columns; j += kWidth)
    for (int64_t k = 0; k < o.depth; k += kDepth) {
      int64_t width = std::min(kWidth, o.columns - j), depth = std::min(kDepth, o.depth - k);
      if (width < kWidth)
        std::memset(panel, 0, sizeof(panel));
      for (int64_t d = 0; d < depth; ++d) {
        const double *from = o.right + (k + d) * o.rightStride + j;
        // A length that the compiler knows needs no call.
        width == kWidth ? std::memcpy(panel + d * kWidth, from, kWidth * sizeof(double))
                        : std::memcpy(panel + d * kWidth, from, width * sizeof(double));
      }
      int64_t row = 0;
      for (; row + Rows <= o.rows; row += Rows)
        addTile<Rows, Vectors>(o.left + row * o.leftStride + k, o.leftStride, panel, depth, o.result + row * o.columns + j,
                               o.columns, width);
      for (; row < o.rows; ++row)
        addTile<1, Vectors>(o.left + row * o.leftStride + k, o.leftStride, panel, depth, o.result + row * o.columns + j,
                            o.columns, width);
    }
}

void addPlain(const Operands &operands) { addProduct<2, 1>(operands); }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void addAvx2(const Operands &operands) { addProduct<4, 1>(operands); }
__attribute__((target("avx512f"), min_vector_width(512))) void addAvx512(const Operands &operands) {
  addProduct<8, 2>(operands);
}
#endif

auto chooseAdd() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return &addAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &addAvx2;
#endif
  return &addPlain;
}
} // namespace

RowMajor multiply(const Eigen::Ref<const RowMajor> &left, const Eigen::Ref<const RowMajor> &right) {
  assert(left.cols() == right.rows());
  static const auto add = chooseAdd();
  RowMajor result = RowMajor::Zero(left.rows(), right.cols());
  add({left.data(), right.data(), result.data(), left.rows(), left.cols(), right.cols(), left.outerStride(), right.outerStride()});
  return result;
}

} // namespace quanta
