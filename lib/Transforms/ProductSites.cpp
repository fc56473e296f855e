//===- ProductSites.cpp - Layers and products of activations as matrix products -------------------------------------------===//
#include "ProductSites.h"
#include "quanta/Support/Error.h"
#include <cmath>

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Array;
using ::quanta::MatrixView;
using ::quanta::Product;
using ::quanta::userError;

/// Matrices of a matmul that are kept: enough for grids of two numbers.
static constexpr size_t kMostMatrices = 32;

SmallVector<Value> ProductSite::getActivations() const {
  return isLayer() ? SmallVector<Value>{op->getOperand(0)} : SmallVector<Value>(op->getOperands());
}

int64_t ProductSite::getColumnDim() const {
  return isa<Conv2DOp>(op) ? 1 : cast<RankedTensorType>(op->getResult(0).getType()).getRank() - 1;
}

SmallVector<int64_t> ProductSite::getRowDims() const {
  SmallVector<int64_t> dims;
  for (int64_t d = 1, rank = cast<RankedTensorType>(op->getResult(0).getType()).getRank(); d < rank; ++d)
    if (d != getColumnDim())
      dims.push_back(d);
  return dims;
}

//===- Rows ---------------------------------------------------------------------------------------------------------------===//

double ProductData::getFactor(ArrayRef<int64_t> rowShape, int64_t row) const {
  if (!sensitivity)
    return 1;
  double factor = 1;
  SmallVector<int64_t> dims = site.getRowDims();
  for (size_t d = dims.size(); d-- > 0;) {
    factor *= sensitivity->axes[dims[d] - 1][row % rowShape[d]];
    row /= rowShape[d];
  }
  return factor;
}

std::vector<std::pair<int64_t, float>> ProductData::chooseRows(ArrayRef<int64_t> rowShape) {
  int64_t count = 1;
  for (int64_t size : rowShape)
    count *= size;
  double total = 0;
  for (int64_t row = 0; row < count; ++row)
    total += getFactor(rowShape, row);
  std::vector<std::pair<int64_t, float>> chosen;
  int64_t wanted = std::min(rowsPerSample, count);
  if (!(total > 0) || wanted == 0)
    return chosen;
  // Points at equal distances of the cumulated factors, from an offset that differs from sample to sample (golden ratio).
  double distance = total / static_cast<double>(wanted), sum = 0;
  double next = std::fmod(0.5 + samplesSeen * 0.6180339887498949, 1.0) * distance;
  for (int64_t row = 0; row < count; ++row) {
    sum += getFactor(rowShape, row);
    int64_t times = 0;
    for (; next < sum && times < wanted; next += distance)
      ++times;
    if (times)
      chosen.push_back({row, static_cast<float>(std::sqrt(times * distance))});
  }
  return chosen;
}

static void widen(::quanta::ValueRange &range, const Array &array) {
  for (float x : array.as<float>()) {
    range.min = std::min<double>(range.min, x);
    range.max = std::max<double>(range.max, x);
  }
}

llvm::Error ProductData::add(size_t operand, const Array &array) {
  for (float x : array.as<float>())
    if (!std::isfinite(x))
      return userError("an activation of '" + getNodeName(site.op->getLoc()) + "' is not finite on the data");
  widen(ranges[operand], array);
  if (isa<Conv2DOp>(site.op))
    return addPatches(array);
  if (site.isLayer())
    return addRows(array);
  addMatrices(operand, array);
  return llvm::Error::success();
}

llvm::Error ProductData::addRows(const Array &array) {
  ArrayRef<int64_t> shape = array.getShape();
  inner = shape.back();
  blocks.resize(1);
  ArrayRef<int64_t> rowShape = shape.size() > 2 ? shape.drop_front().drop_back() : ArrayRef<int64_t>();
  int64_t count = 1;
  for (int64_t size : rowShape)
    count *= size;
  for (int64_t sample = 0; sample < shape[0]; ++sample, ++samplesSeen)
    for (auto [row, factor] : chooseRows(rowShape)) {
      ArrayRef<float> data = array.as<float>().slice((sample * count + row) * inner, inner);
      blocks[0].left.insert(blocks[0].left.end(), data.begin(), data.end());
      rowFactors.push_back(factor);
    }
  return llvm::Error::success();
}

/// A row of a convolution is the patch that it reads for one position.
llvm::Error ProductData::addPatches(const Array &array) {
  auto conv = cast<Conv2DOp>(site.op);
  ArrayRef<int64_t> shape = array.getShape(), kernel = cast<RankedTensorType>(conv.getWeight().getType()).getShape();
  int64_t channels = kernel[1], groups = conv.getGroups(), out[2];
  for (int d = 0; d < 2; ++d)
    out[d] = (shape[2 + d] + conv.getPads()[d] + conv.getPads()[d + 2] - conv.getDilations()[d] * (kernel[2 + d] - 1) - 1) /
                 conv.getStrides()[d] + 1;
  inner = channels * kernel[2] * kernel[3];
  blocks.resize(groups);
  for (int64_t sample = 0; sample < shape[0]; ++sample, ++samplesSeen)
    for (auto [row, factor] : chooseRows(out)) {
      rowFactors.push_back(factor);
      for (int64_t c = 0; c < channels * groups; ++c) {
        std::vector<float> &left = blocks[c / channels].left;
        for (int64_t y = 0; y < kernel[2]; ++y)
          for (int64_t x = 0; x < kernel[3]; ++x) {
            int64_t iy = row / out[1] * conv.getStrides()[0] - conv.getPads()[0] + y * conv.getDilations()[0];
            int64_t ix = row % out[1] * conv.getStrides()[1] - conv.getPads()[1] + x * conv.getDilations()[1];
            bool inside = iy >= 0 && ix >= 0 && iy < shape[2] && ix < shape[3];
            left.push_back(inside ? array.as<float>()[((sample * shape[1] + c) * shape[2] + iy) * shape[3] + ix] : 0.0f);
          }
      }
    }
  return llvm::Error::success();
}

/// The matrices of a batch, the right ones transposed if they are not stored so.
void ProductData::addMatrices(size_t operand, const Array &array) {
  ArrayRef<int64_t> shape = array.getShape();
  int64_t rows = shape[shape.size() - 2], columns = shape.back();
  int64_t count = array.getElementCount() / std::max<int64_t>(1, rows * columns);
  bool transpose = operand == 1 && !cast<MatmulOp>(site.op).getTransposeRhs();
  for (int64_t m = 0; m < count && matrices[operand] < kMostMatrices; ++m, ++matrices[operand]) {
    if (blocks.size() <= matrices[operand])
      blocks.emplace_back();
    Block &block = blocks[matrices[operand]];
    std::vector<float> &to = operand == 0 ? block.left : block.right;
    ArrayRef<float> data = array.as<float>().slice(m * rows * columns, rows * columns);
    to.assign(data.begin(), data.end());
    if (transpose)
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
          to[c * rows + r] = data[r * columns + c];
    if (operand == 0) {
      inner = columns;
      block.rows = rows;
    }
  }
}

//===- Products -----------------------------------------------------------------------------------------------------------===//

std::vector<Product> ProductData::getProducts() {
  std::vector<Product> products;
  SmallVector<double> byColumn;
  if (sensitivity)
    byColumn.assign(sensitivity->axes[site.getColumnDim() - 1].begin(), sensitivity->axes[site.getColumnDim() - 1].end());
  auto result = cast<RankedTensorType>(site.op->getResult(0).getType());
  size_t used = site.isLayer() ? blocks.size() : std::min({blocks.size(), matrices[0], matrices[1]});
  for (size_t number = 0; number < used; ++number) {
    Block &block = blocks[number];
    int64_t columns, firstColumn = 0;
    Product product;
    if (site.isLayer()) {
      columns = site.weights.rows() / site.blocks;
      firstColumn = static_cast<int64_t>(number) * columns;
      product.right = site.weights.block(firstColumn, 0, columns, inner);
      block.rows = static_cast<int64_t>(rowFactors.size());
    } else {
      columns = static_cast<int64_t>(block.right.size()) / inner;
      product.right = MatrixView(block.right.data(), columns, inner);
    }
    product.firstGrid = static_cast<size_t>(firstColumn);
    product.left = MatrixView(block.left.data(), block.rows, inner);
    if (sensitivity) {
      block.factors.resize(block.rows * columns);
      SmallVector<int64_t> rowShape;
      for (int64_t d : site.getRowDims())
        rowShape.push_back(result.isDynamicDim(d) ? block.rows : result.getDimSize(d));
      int64_t heads = 1;
      for (size_t d = 0; d + 1 < rowShape.size(); ++d)
        heads *= rowShape[d];
      for (int64_t row = 0; row < block.rows; ++row) {
        // Matrices of a sample follow each other, so that a row's number within the sample is known.
        double factor = site.isLayer() ? rowFactors[row]
                                       : std::sqrt(getFactor(rowShape, static_cast<int64_t>(number) % heads * block.rows + row));
        for (int64_t column = 0; column < columns; ++column)
          block.factors[row * columns + column] = static_cast<float>(factor * std::sqrt(byColumn[firstColumn + column]));
      }
      product.factors = MatrixView(block.factors.data(), block.rows, columns);
    }
    products.push_back(product);
  }
  return products;
}
