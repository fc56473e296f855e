//===- ProductSearch.cpp - Grids of two operands for the least error of their product -------------------------------------===//
#include "quanta/Solver/ProductSearch.h"
#include <Eigen/Core>

namespace quanta {

namespace {
using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix, 0, Eigen::OuterStride<>>;

View asEigen(MatrixView view) { return {view.row(0), view.rows(), view.columns(), Eigen::OuterStride<>(view.stride())}; }

/// Quantized and decoded. Codes are few, so their values are looked up.
Matrix rounded(MatrixView values, const ActivationGrid *grids, size_t count) {
  Matrix result(values.rows(), values.columns());
  std::vector<float> decoded(size_t(1) << 8);
  for (int64_t row = 0; row < values.rows(); ++row) {
    const ActivationGrid &grid = grids[count == 1 ? 0 : row];
    if (row == 0 || count > 1)
      for (int code = 0; code <= grid.highestCode(); ++code)
        decoded[code] = static_cast<float>(grid.decode(static_cast<uint8_t>(code)));
    for (int64_t column = 0; column < values.columns(); ++column)
      result(row, column) = decoded[grid.encode(values(row, column))];
  }
  return result;
}

Matrix rounded(MatrixView values, const std::vector<ActivationGrid> &grids) {
  return grids.empty() ? Matrix(asEigen(values)) : rounded(values, grids.data(), grids.size());
}
Matrix rounded(MatrixView values, const std::optional<ActivationGrid> &grid) {
  return grid ? rounded(values, &*grid, 1) : Matrix(asEigen(values));
}

class Search {
public:
  explicit Search(const std::vector<Product> &products) : products(products) {
    for (const Product &product : products) {
      targets.push_back(asEigen(product.left) * asEigen(product.right).transpose());
      count += static_cast<double>(targets.back().size());
    }
  }

  double mean(const std::vector<double> &errors) const {
    double sum = 0;
    for (double error : errors)
      sum += error;
    return sum / count;
  }

  /// Σ (factor · (o − ô))² of each group: of the rows of the right operand, or all as one.
  std::vector<double> measure(const std::vector<Matrix> &lefts, const std::vector<Matrix> &rights, size_t groups) const {
    std::vector<double> errors(groups);
    for (size_t i = 0; i < products.size(); ++i) {
      Matrix difference = targets[i];
      difference.noalias() -= lefts[i] * rights[i].transpose();
      if (products[i].factors.rows())
        difference.array() *= asEigen(products[i].factors).array();
      Eigen::VectorXd sums = difference.cast<double>().colwise().squaredNorm();
      for (Eigen::Index column = 0; column < sums.size(); ++column)
        errors[groups == 1 ? 0 : column] += sums[column];
    }
    return errors;
  }

  template <typename Grids> std::vector<Matrix> round(bool left, const Grids &grids) const {
    std::vector<Matrix> result;
    for (const Product &product : products)
      result.push_back(rounded(left ? product.left : product.right, grids));
    return result;
  }

  void chooseRight(ProductGrids &grids, const ProductCandidates &candidates) const {
    std::vector<Matrix> lefts = round(true, grids.left);
    std::vector<double> least(candidates.right.front().size(), INFINITY);
    grids.right.resize(least.size());
    for (const std::vector<ActivationGrid> &candidate : candidates.right) {
      std::vector<double> errors = measure(lefts, round(false, candidate), least.size());
      for (size_t group = 0; group < least.size(); ++group)
        if (errors[group] < least[group]) {
          least[group] = errors[group];
          grids.right[group] = candidate[group];
        }
    }
    grids.error = mean(least);
  }

  void chooseLeft(ProductGrids &grids, const ProductCandidates &candidates) const {
    std::vector<Matrix> rights = round(false, grids.right);
    double least = INFINITY;
    for (const ActivationGrid &candidate : candidates.left)
      if (double error = mean(measure(round(true, std::optional(candidate)), rights, 1)); error < least) {
        least = error;
        grids.left = candidate;
      }
    grids.error = least;
  }

private:
  const std::vector<Product> &products;
  std::vector<Matrix> targets;
  double count = 0;
};
} // namespace

ProductGrids searchGrids(const std::vector<Product> &products, ProductGrids grids, const ProductCandidates &candidates,
                         unsigned rounds) {
  Search search(products);
  for (unsigned round = 0; round < rounds; ++round) {
    double before = round ? grids.error : INFINITY;
    if (!candidates.right.empty())
      search.chooseRight(grids, candidates);
    if (!candidates.left.empty())
      search.chooseLeft(grids, candidates);
    if (grids.error >= before)
      break;
  }
  if (rounds == 0 || (candidates.left.empty() && candidates.right.empty()))
    grids.error = measureGrids(products, grids);
  return grids;
}

double measureGrids(const std::vector<Product> &products, const ProductGrids &grids) {
  Search search(products);
  return search.mean(search.measure(search.round(true, grids.left), search.round(false, grids.right), 1));
}

} // namespace quanta
