//===- FoldZeros.cpp - Zero points of activations in a bias -----------------------------------------------------------------===//
#include "FoldZeros.h"
#include "quanta/Support/Half.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {

/// A component of a constant, as numbers.
class Numbers {
public:
  bool read(DictionaryAttr components, StringRef name, int64_t count) {
    auto elements = dyn_cast_or_null<ElementsAttr>(components.get(name));
    auto raw = elements ? getRawData(elements, storage) : std::nullopt;
    if (!raw)
      return false;
    type = elements.getElementType();
    data = *raw;
    return static_cast<int64_t>(data.size()) >= count * type.getIntOrFloatBitWidth() / 8;
  }
  double operator[](int64_t i) const {
    if (type.isInteger(8))
      return static_cast<uint8_t>(data[i]);
    if (type.isF16()) {
      uint16_t half;
      memcpy(&half, data.data() + 2 * i, 2);
      return ::quanta::halfToFloat(half);
    }
    float value;
    memcpy(&value, data.data() + 4 * i, 4);
    return value;
  }

private:
  Type type;
  ArrayRef<char> data;
  SmallVector<char> storage;
};

} // namespace

FailureOr<SmallVector<float>> mlir::quanta::foldZeros(AffineAttr activation, UniformAttr weight, DictionaryAttr components,
                                                      ArrayRef<int64_t> shape) {
  auto [rows, columns] = getMatrixShape(shape);
  int64_t size = weight.getGroupSize(columns), groups = weight.getGroupCount(columns);
  Numbers codes, scales, zeros, multiples;
  if (!codes.read(components, "codes", rows * columns) || !scales.read(components, "scales", weight.getScaleRows(rows) * weight.getScaleGroups(columns)))
    return failure();
  if (weight.getMultiples() && !multiples.read(components, "multiples", rows * groups))
    return failure();
  bool point = weight.getZero() == ZeroKind::Point, offset = weight.getZero() == ZeroKind::Offset;
  if ((point || offset) && !zeros.read(components, point ? "zeros" : "offsets", weight.getScaleRows(rows) * groups))
    return failure();
  double middle = weight.getLevels() ? 1 : weight.getBits() == 1 ? 0.5 : double(1 << (weight.getBits() - 1));
  SmallVector<int64_t> bounds = activation.getBounds(columns);
  SmallVector<float> result(rows);
  for (int64_t row = 0; row < rows; ++row) {
    double sum = 0;
    for (int64_t s = 0; s < activation.getSegmentCount(); ++s) {
      double inSegment = 0;
      for (int64_t c = bounds[s]; c < bounds[s + 1]; ++c) {
        int64_t at = (weight.getGroup() == UniformAttr::kTensor ? 0 : row * groups) + c / size;
        double scale = weight.getMultiples() ? scales[row] * multiples[at] : scales[at];
        inSegment += offset ? codes[row * columns + c] * scale + zeros[at]
                            : (codes[row * columns + c] - (point ? zeros[at] : middle)) * scale;
      }
      sum -= inSegment * activation.getScales()[s] * double(activation.getZeros()[s]);
    }
    result[row] = static_cast<float>(sum);
  }
  return result;
}
