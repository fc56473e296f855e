//===- MomentSums.cpp - Adds up the moments of a layer's input ------------------------------------------------------------===//
#include "quanta/Calibrate/MomentSums.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Parallel.h"
#include <algorithm>
#include <cmath>
#include <cstring>

using namespace llvm;

namespace quanta {

//===- Products -----------------------------------------------------------------------------------------------------------===//

namespace {
constexpr int64_t kPanel = 32; // channels that are packed side by side
constexpr int64_t kSums = 8;   // rows of the result that are added up at once, in registers

/// sums[i][j] = Σ_r left[r][i]·right[r][j] over the rows of two panels.
__attribute__((always_inline)) inline void multiplyPanels(const float *left, const float *right, int64_t rows,
                                                          float (*sums)[kPanel]) {
  typedef float Vector __attribute__((vector_size(64)));
  constexpr int64_t kVectors = kPanel * int64_t(sizeof(float)) / int64_t(sizeof(Vector));
  Vector acc[kSums][kVectors] = {};
  for (int64_t r = 0; r < rows; ++r) {
    Vector values[kVectors];
    std::memcpy(values, right + r * kPanel, sizeof(values));
    for (int64_t i = 0; i < kSums; ++i)
      for (int64_t v = 0; v < kVectors; ++v)
        acc[i][v] += values[v] * left[r * kPanel + i];
  }
  std::memcpy(sums, acc, sizeof(acc));
}

void multiplyPlain(const float *left, const float *right, int64_t rows, float (*sums)[kPanel]) {
  multiplyPanels(left, right, rows, sums);
}
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) void multiplyAvx2(const float *left, const float *right, int64_t rows,
                                                      float (*sums)[kPanel]) {
  multiplyPanels(left, right, rows, sums);
}
__attribute__((target("avx512f"), min_vector_width(512))) void
multiplyAvx512(const float *left, const float *right, int64_t rows, float (*sums)[kPanel]) {
  multiplyPanels(left, right, rows, sums);
}
#endif

auto chooseMultiply() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return &multiplyAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &multiplyAvx2;
#endif
  return &multiplyPlain;
}

/// Columns of a matrix in panels [panel][row][kPanel], the last one of a block filled up with zeros.
struct Panels {
  int64_t rows, each; // panels of a block
  std::vector<float> data;

  Panels(const float *matrix, int64_t rows, int64_t channels, int64_t blocks)
      : rows(rows), each((channels + kPanel - 1) / kPanel),
        data(static_cast<size_t>(blocks * each * rows * kPanel)) {
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t p = 0; p < each; ++p) {
        int64_t begin = p * kPanel, size = std::min(kPanel, channels - begin);
        float *to = get(block, p);
        const float *from = matrix + block * channels + begin;
        // A length that the compiler knows needs no call.
        for (int64_t r = 0; r < rows; ++r)
          size == kPanel ? std::memcpy(to + r * kPanel, from + r * blocks * channels, kPanel * sizeof(float))
                         : std::memcpy(to + r * kPanel, from + r * blocks * channels, size * sizeof(float));
      }
  }
  float *get(int64_t block, int64_t p) { return data.data() + (block * each + p) * rows * kPanel; }
};

/// result[block][i][j] += Σ_r left[r][i]·right[r][j]; of a symmetric result only the panels up to the diagonal's.
void addProducts(Panels &left, Panels &right, int64_t channels, int64_t blocks, bool symmetric, double *result) {
  static const auto multiply = chooseMultiply();
  int64_t each = left.each;
  // A task is one panel of rows of the result: it reads its left panel from the nearest cache all the time. Tasks write
  // different elements, so their order does not matter.
  auto run = [&](size_t task) {
    int64_t block = static_cast<int64_t>(task) / each, p = static_cast<int64_t>(task) % each;
    double *out = result + block * channels * channels;
    for (int64_t q = 0; q < (symmetric ? p + 1 : each); ++q)
      for (int64_t i = p * kPanel; i < std::min((p + 1) * kPanel, channels); i += kSums) {
        float sums[kSums][kPanel];
        multiply(left.get(block, p) + i % kPanel, right.get(block, q), left.rows, sums);
        int64_t columns = std::min(kPanel, channels - q * kPanel);
        for (int64_t k = 0; k < std::min(kSums, channels - i); ++k)
          for (int64_t j = 0; j < columns; ++j)
            out[(i + k) * channels + q * kPanel + j] += static_cast<double>(sums[k][j]);
      }
  };
  parallelFor(0, static_cast<size_t>(blocks * each), run);
}
} // namespace

//===- Sums ---------------------------------------------------------------------------------------------------------------===//

MomentSums::MomentSums(int64_t channels, int64_t blocks, bool cross) : cross(cross) {
  moments.channels = channels;
  moments.blocks = blocks;
  size_t vector = static_cast<size_t>(channels * blocks), matrix = vector * static_cast<size_t>(channels);
  moments.fit.resize(matrix);
  moments.heldOut.resize(matrix);
  moments.cross.resize(cross ? matrix : 0);
  moments.absMax.resize(vector);
  absSums.resize(vector);
  for (Part &part : parts)
    part.rows.resize(static_cast<size_t>(kMomentChunk) * vector);
  if (cross)
    parts[0].reference.resize(static_cast<size_t>(kMomentChunk) * vector);
}

void MomentSums::add(MatrixView rows, std::optional<MatrixView> reference, bool heldOut) {
  assert(rows.columns() == moments.channels * moments.blocks);
  assert(!reference || (reference->rows() == rows.rows() && reference->columns() == rows.columns()));
  Part &part = parts[heldOut];
  size_t width = static_cast<size_t>(rows.columns());
  for (int64_t r = 0; r < rows.rows(); ++r) {
    const float *row = rows.row(r);
    for (size_t c = 0; c < width; ++c) {
      float magnitude = std::fabs(row[c]);
      moments.absMax[c] = std::max(moments.absMax[c], magnitude);
      absSums[c] += static_cast<double>(magnitude);
    }
    size_t at = static_cast<size_t>(part.count) * width;
    std::copy_n(row, width, part.rows.data() + at);
    if (cross && !heldOut)
      std::copy_n(reference ? reference->row(r) : row, width, part.reference.data() + at);
    if (++part.count == kMomentChunk)
      flush(heldOut);
  }
  (heldOut ? moments.heldOutRows : moments.fitRows) += static_cast<uint64_t>(rows.rows());
}

void MomentSums::flush(bool heldOut) {
  Part &part = parts[heldOut];
  if (!part.count)
    return;
  Panels panels(part.rows.data(), part.count, moments.channels, moments.blocks);
  addProducts(panels, panels, moments.channels, moments.blocks, /*symmetric=*/true,
              heldOut ? moments.heldOut.data() : moments.fit.data());
  if (cross && !heldOut) {
    Panels reference(part.reference.data(), part.count, moments.channels, moments.blocks);
    addProducts(reference, panels, moments.channels, moments.blocks, /*symmetric=*/false, moments.cross.data());
  }
  part.count = 0;
}

bool MomentSums::isFinite() const {
  // A sum with an infinity or NaN in it stays one.
  return all_of(absSums, [](double sum) { return std::isfinite(sum); });
}

LayerMoments MomentSums::finish() {
  for (bool heldOut : {false, true}) {
    flush(heldOut);
    parts[heldOut] = Part();
  }
  auto average = [&](std::vector<double> &sums, uint64_t rows, bool symmetric) {
    double scale = rows ? 1 / static_cast<double>(rows) : 0;
    int64_t size = moments.channels;
    for (int64_t block = 0; block < moments.blocks && !sums.empty(); ++block) {
      double *matrix = sums.data() + block * size * size;
      for (int64_t i = 0; i < size; ++i)
        for (int64_t j = 0; j < (symmetric ? i + 1 : size); ++j) {
          matrix[i * size + j] *= scale;
          if (symmetric)
            matrix[j * size + i] = matrix[i * size + j];
        }
    }
  };
  average(moments.fit, moments.fitRows, true);
  average(moments.heldOut, moments.heldOutRows, true);
  average(moments.cross, moments.fitRows, false);
  uint64_t rows = moments.fitRows + moments.heldOutRows;
  for (double sum : absSums)
    moments.absMean.push_back(rows ? static_cast<float>(sum / static_cast<double>(rows)) : 0.0f);
  absSums.clear();
  return std::move(moments);
}

uint64_t MomentSums::getBytes(int64_t channels, int64_t blocks, bool cross) {
  uint64_t vector = SaturatingMultiply(static_cast<uint64_t>(channels), static_cast<uint64_t>(blocks));
  uint64_t matrix = SaturatingMultiply(vector, static_cast<uint64_t>(channels));
  uint64_t chunk = SaturatingMultiply<uint64_t>(vector, 4 * kMomentChunk);
  uint64_t kept = cross ? 3 : 2;
  return SaturatingAdd(SaturatingMultiply(matrix, 8 * kept), SaturatingMultiply(chunk, 2 * kept));
}

//===- Rows ---------------------------------------------------------------------------------------------------------------===//

static MatrixView makePatches(const float *input, ArrayRef<int64_t> shape, const Window &window, int64_t begin, int64_t end,
                              std::vector<float> &storage) {
  int64_t channels = shape[1], height = shape[2], width = shape[3];
  int64_t size[2];
  for (int d : {0, 1}) {
    int64_t extent = shape[static_cast<size_t>(2 + d)] + window.pads[d] + window.pads[d + 2];
    int64_t reach = window.dilations[d] * (window.kernel[d] - 1) + 1;
    size[d] = extent < reach ? 0 : (extent - reach) / window.strides[d] + 1;
  }
  int64_t columns = channels * window.kernel[0] * window.kernel[1], rows = (end - begin) * size[0] * size[1];
  storage.assign(static_cast<size_t>(rows * columns), 0.0f);
  float *out = storage.data();
  for (int64_t n = begin; n < end; ++n)
    for (int64_t y = 0; y < size[0]; ++y)
      for (int64_t x = 0; x < size[1]; ++x)
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t ky = 0; ky < window.kernel[0]; ++ky) {
            int64_t iy = y * window.strides[0] + ky * window.dilations[0] - window.pads[0];
            const float *line = input + ((n * channels + c) * height + iy) * width;
            for (int64_t kx = 0; kx < window.kernel[1]; ++kx, ++out) {
              int64_t ix = x * window.strides[1] + kx * window.dilations[1] - window.pads[1];
              if (iy >= 0 && iy < height && ix >= 0 && ix < width)
                *out = line[ix];
            }
          }
  return {storage.data(), rows, columns};
}

Expected<MatrixView> getLayerRows(const Array &input, const std::optional<Window> &window, int64_t begin, int64_t end,
                                  int64_t count, std::vector<float> &storage) {
  ArrayRef<int64_t> shape = input.getShape();
  assert(input.getType() == DType::F32 && !shape.empty());
  if (count < 1 || shape[0] % count || (count > 1 && shape.size() < 2))
    return userError("an input of " + input.describe() + " cannot be told apart by its " + Twine(count) +
                     " samples; set the batch to 1");
  const float *data = reinterpret_cast<const float *>(input.data());
  int64_t each = shape[0] / count;
  if (window)
    return makePatches(data, shape, *window, begin * each, end * each, storage);
  int64_t columns = shape.back(), rows = columns ? input.getElementCount() / columns / count : 0;
  return MatrixView(data + begin * rows * columns, (end - begin) * rows, columns);
}

} // namespace quanta
