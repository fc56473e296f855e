//===- ProductSites.h - Layers and products of activations as matrix products ---------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_PRODUCTSITES_H
#define QUANTA_LIB_TRANSFORMS_PRODUCTSITES_H

#include "LayerSolver.h"
#include "ModelProbe.h"
#include "quanta/Solver/ProductSearch.h"

namespace mlir::quanta {

/// A product of matrices that the model computes: a layer (`quanta.linear`, `quanta.conv2d`) with its constant weight, or a
/// `quanta.matmul` of activations.
struct ProductSite {
  Operation *op = nullptr;
  ::quanta::MatrixView weights; ///< of layers: [outputs, inner]
  int64_t blocks = 1;           ///< groups of a convolution

  bool isLayer() const { return !isa<MatmulOp>(op); }
  /// The activations that it reads: one of a layer, two of a matmul.
  SmallVector<Value> getActivations() const;
  /// Dimensions of the result, without that of samples, that are rows of the product. The others are columns, one of them.
  SmallVector<int64_t> getRowDims() const;
  int64_t getColumnDim() const;
};

/// Collects the operands of a site over the samples: all rows of a matmul's first samples; of a layer a share of the rows,
/// chosen with probabilities in proportion to their sensitivity and weighted so that sums over all rows are estimated without
/// bias (systematic sampling). Without a sensitivity all elements of the result weigh the same.
class ProductData {
public:
  ProductData(const ProductSite &site, const Sensitivity *sensitivity, int64_t rowsPerSample)
      : site(site), sensitivity(sensitivity), rowsPerSample(rowsPerSample) {}

  /// The next batch of an operand: number as in getActivations().
  llvm::Error add(size_t operand, const ::quanta::Array &array);
  /// Views of what was added; valid as long as this is.
  std::vector<::quanta::Product> getProducts();
  /// Of all that was added to an operand.
  ::quanta::ValueRange getRange(size_t operand) const { return ranges[operand]; }

private:
  llvm::Error addRows(const ::quanta::Array &array);
  llvm::Error addPatches(const ::quanta::Array &array);
  void addMatrices(size_t operand, const ::quanta::Array &array);
  /// Rows of one sample, and by what their errors are multiplied.
  std::vector<std::pair<int64_t, float>> chooseRows(ArrayRef<int64_t> rowShape);
  double getFactor(ArrayRef<int64_t> rowShape, int64_t row) const;

  struct Block {
    std::vector<float> left, right, factors;
    int64_t rows = 0;
  };

  ProductSite site;
  const Sensitivity *sensitivity;
  int64_t rowsPerSample, inner = 0, samplesSeen = 0;
  std::vector<Block> blocks; ///< of a layer one for each group of a convolution, of a matmul one for each matrix
  std::vector<float> rowFactors;
  size_t matrices[2] = {0, 0};
  ::quanta::ValueRange ranges[2];
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_PRODUCTSITES_H
