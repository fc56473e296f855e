//===- ProductSearch.cpp - Grids of two operands for the least error of their product -------------------------------------===//
#include "quanta/Solver/ProductSearch.h"
#include "Product.h"

namespace quanta {

namespace {
using Floats = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Matrix = RowMajor;

Matrix asEigen(MatrixView view) {
  return Eigen::Map<const Floats, 0, Eigen::OuterStride<>>(view.row(0), view.rows(), view.columns(),
                                                           Eigen::OuterStride<>(view.stride())).cast<double>();
}

/// Quantized and decoded. Codes are few, so their values are looked up.
Matrix rounded(MatrixView values, const ActivationGrid *grids, size_t count) {
  Matrix result(values.rows(), values.columns());
  std::vector<double> decoded(size_t(1) << 8);
  for (int64_t row = 0; row < values.rows(); ++row) {
    const ActivationGrid &grid = grids[count == 1 ? 0 : row];
    if (row == 0 || count > 1)
      for (int code = 0; code <= grid.highestCode(); ++code)
        decoded[code] = grid.decode(static_cast<uint8_t>(code));
    for (int64_t column = 0; column < values.columns(); ++column)
      result(row, column) = decoded[grid.encode(values(row, column))];
  }
  return result;
}

/// Transposed.
Matrix roundedRight(const Product &product, const std::vector<ActivationGrid> &grids) {
  if (grids.empty())
    return asEigen(product.right).transpose();
  const ActivationGrid *first = &grids[grids.size() == 1 ? 0 : product.firstGrid];
  return rounded(product.right, first, grids.size()).transpose();
}
Matrix roundedLeft(const Product &product, const std::optional<ActivationGrid> &grid) {
  return grid ? rounded(product.left, &*grid, 1) : Matrix(asEigen(product.left));
}

class Search {
public:
  explicit Search(const std::vector<Product> &products) : products(products) {
    for (const Product &product : products) {
      targets.push_back(multiply(asEigen(product.left), asEigen(product.right).transpose()));
      count += static_cast<double>(targets.back().size());
    }
  }

  double mean(const std::vector<double> &errors) const {
    double sum = 0;
    for (double error : errors)
      sum += error;
    return sum / count;
  }

  /// o − ô of one product.
  Matrix subtract(size_t i, const std::vector<Matrix> &lefts, const std::vector<Matrix> &rights) const {
    return targets[i] - multiply(lefts[i], rights[i]);
  }

  /// Σ (factor · (o − ô))² of each group: of the rows of the right operand, or all as one.
  std::vector<double> measure(const std::vector<Matrix> &lefts, const std::vector<Matrix> &rights, size_t groups) const {
    std::vector<double> errors(groups);
    for (size_t i = 0; i < products.size(); ++i) {
      Matrix difference = subtract(i, lefts, rights);
      if (products[i].factors.rows())
        difference.array() *= asEigen(products[i].factors).array();
      Eigen::VectorXd sums = difference.colwise().squaredNorm();
      for (Eigen::Index column = 0; column < sums.size(); ++column)
        errors[groups == 1 ? 0 : products[i].firstGrid + column] += sums[column];
    }
    return errors;
  }

  double energy() const {
    double sum = 0;
    for (size_t i = 0; i < products.size(); ++i)
      sum += products[i].factors.rows() ? (targets[i].array() * asEigen(products[i].factors).array()).square().sum()
                                        : targets[i].squaredNorm();
    return sum / count;
  }

  std::vector<Matrix> roundLeft(const std::optional<ActivationGrid> &grid) const {
    std::vector<Matrix> result;
    for (const Product &product : products)
      result.push_back(roundedLeft(product, grid));
    return result;
  }
  std::vector<Matrix> roundRight(const std::vector<ActivationGrid> &grids) const {
    std::vector<Matrix> result;
    for (const Product &product : products)
      result.push_back(roundedRight(product, grids));
    return result;
  }

  void chooseRight(ProductGrids &grids, const ProductCandidates &candidates) const {
    std::vector<Matrix> lefts = roundLeft(grids.left);
    std::vector<double> least(candidates.right.front().size(), INFINITY);
    grids.right.resize(least.size());
    for (const std::vector<ActivationGrid> &candidate : candidates.right) {
      std::vector<double> errors = measure(lefts, roundRight(candidate), least.size());
      for (size_t group = 0; group < least.size(); ++group)
        if (errors[group] < least[group]) {
          least[group] = errors[group];
          grids.right[group] = candidate[group];
        }
    }
    grids.error = mean(least);
  }

  void chooseLeft(ProductGrids &grids, const ProductCandidates &candidates) const {
    std::vector<Matrix> rights = roundRight(grids.right);
    double least = INFINITY;
    for (const ActivationGrid &candidate : candidates.left)
      if (double error = mean(measure(roundLeft(candidate), rights, 1)); error < least) {
        least = error;
        grids.left = candidate;
      }
    grids.error = least;
  }

private:
  const std::vector<Product> &products;
  std::vector<Matrix> targets; // o
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
  grids.energy = search.energy();
  return grids;
}

double measureGrids(const std::vector<Product> &products, const ProductGrids &grids) {
  Search search(products);
  return search.mean(search.measure(search.roundLeft(grids.left), search.roundRight(grids.right), 1));
}

std::vector<double> measureBias(const std::vector<Product> &products, const ProductGrids &grids) {
  Search search(products);
  std::vector<Matrix> lefts = search.roundLeft(grids.left), rights = search.roundRight(grids.right);
  std::vector<double> result;
  for (size_t i = 0; i < products.size(); ++i) {
    Eigen::ArrayXXd difference = search.subtract(i, lefts, rights).array();
    Eigen::ArrayXXd weights = Eigen::ArrayXXd::Ones(difference.rows(), difference.cols());
    if (products[i].factors.rows())
      weights = asEigen(products[i].factors).array().square();
    for (Eigen::Index column = 0; column < difference.cols(); ++column) {
      double total = weights.col(column).sum();
      result.push_back(total > 0 ? (difference.col(column) * weights.col(column)).sum() / total : 0);
    }
  }
  return result;
}

} // namespace quanta
