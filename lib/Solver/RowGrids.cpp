//===- RowGrids.cpp - Codes on a few affine grids of each row -------------------------------------------------------------===//
#include "quanta/Solver/RowGrids.h"
#include "Product.h"
#include "quanta/Solver/Multiples.h"
#include <Eigen/Cholesky>
#include <cmath>

namespace quanta {

namespace {
/// Rows that are worked on together: enough for matrix products, few enough that their matrices stay in the cache.
constexpr int64_t kRows = 32;

/// (T − Ŵ)·H for some rows.
RowMajor makeGradient(MatrixViewF64 targets, const ConstMap &hessian, const RowGrids &result, int64_t begin,
                      int64_t rows) {
  RowMajor difference(rows, result.columns);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < result.columns; ++j)
      difference(r, j) = targets(begin + r, j) - result.decode(begin + r, j);
  return multiply(difference, hessian);
}

class GridQuantizer : public SweepQuantizer {
public:
  GridQuantizer(RowGrids &result, const std::vector<int64_t> &order) : result(result), order(order) {}

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t j = order[position];
    for (int64_t row = 0; row < result.rows; ++row) {
      int64_t g = result.gridOf(row, j);
      uint8_t code = encodeUniform(column[row], result.parameter(row, g), result.formats[g]);
      result.codes[row * result.columns + j] = code;
      quantized[row] = decodeUniform(code, result.parameter(row, g), result.formats[g]);
    }
  }

private:
  RowGrids &result;
  const std::vector<int64_t> &order;
};

/// Least squares for the parameters θ of some rows at a time: the scales of all grids, and the offsets of those that have
/// one. Ŵ = Σ_k θ_k·φ_k, where φ_k holds the levels of the codes on a grid (or ones, for its offset) and 0 elsewhere. The
/// best change δ of θ solves A·δ = b, A = Φ·H·Φᵀ, b = Φ·H·(T − Ŵ)ᵀ; it lowers the error by 2·δᵀb − δᵀA·δ.
class GridFitter {
public:
  GridFitter(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result)
      : targets(targets), hessian(map(hessian)), result(result) {
    std::vector<int64_t> first(result.formats.size(), result.columns), last(result.formats.size(), 0);
    for (size_t i = 0; i < result.grid.size(); ++i) {
      int64_t column = static_cast<int64_t>(i) % result.columns, g = result.grid[i];
      first[g] = std::min(first[g], column);
      last[g] = std::max(last[g], column + 1);
    }
    for (int64_t g = 0; g < result.grids(); ++g)
      for (bool offset : {false, true})
        if (first[g] < last[g] && (!offset || result.formats[g].zero == UniformZero::Offset))
          basis.push_back({g, offset, first[g], last[g] - first[g]});
    int64_t parameters = static_cast<int64_t>(basis.size());
    if (!result.rowsAgree())
      return;
    // φ_k of an offset is the same for all rows, so that its product with H is formed once.
    ones.resize(parameters, result.columns);
    for (int64_t k = 0; k < parameters; ++k)
      if (basis[k].offset)
        ones.row(k) = indicator(basis[k], 0) * this->hessian.middleRows(basis[k].first, basis[k].count);
  }

  int64_t fit() {
    int64_t changed = 0;
    start(result.shared ? 1 : kRows);
    for (int64_t row = 0; row < result.rows; row += kRows) {
      int64_t rows = std::min(kRows, result.rows - row);
      if (!result.shared)
        start(rows);
      accumulate(row, rows);
      for (int64_t r = 0; !result.shared && r < rows; ++r)
        changed += solve(row + r, normal[r], right[r]);
    }
    return result.shared ? solve(0, normal[0], right[0]) : changed;
  }

private:
  /// One parameter, and the columns that its φ lies in.
  struct Basis {
    int64_t grid;
    bool offset;
    int64_t first, count;
  };

  Eigen::RowVectorXd indicator(const Basis &k, int64_t row) const {
    Eigen::RowVectorXd values(k.count);
    for (int64_t j = 0; j < k.count; ++j)
      values(j) = result.gridOf(row, k.first + j) == k.grid;
    return values;
  }

  Eigen::RowVectorXd levels(const Basis &k, int64_t row) const {
    Eigen::RowVectorXd values = indicator(k, row);
    const UniformGrid &grid = result.parameter(row, k.grid);
    const uint8_t *codes = result.codes.data() + row * result.columns + k.first;
    for (int64_t j = 0; j < k.count; ++j)
      values(j) *= uniformLevel(codes[j], grid, result.formats[k.grid]);
    return values;
  }

  void start(int64_t systems) {
    int64_t parameters = static_cast<int64_t>(basis.size());
    normal.assign(static_cast<size_t>(systems), Eigen::MatrixXd::Zero(parameters, parameters));
    right.assign(static_cast<size_t>(systems), Eigen::VectorXd::Zero(parameters));
  }

  void accumulate(int64_t begin, int64_t rows) {
    std::vector<RowMajor> phi;
    for (const Basis &k : basis) {
      phi.emplace_back(rows, k.count);
      for (int64_t r = 0; r < rows; ++r)
        phi.back().row(r) = k.offset ? indicator(k, begin + r) : levels(k, begin + r);
    }
    RowMajor gradient = makeGradient(targets, hessian, result, begin, rows), product;
    for (size_t k = 0; k < basis.size(); ++k) {
      bool known = basis[k].offset && result.rowsAgree();
      if (!known)
        product = multiply(phi[k], hessian.middleRows(basis[k].first, basis[k].count));
      for (int64_t r = 0; r < rows; ++r) {
        Eigen::MatrixXd &a = normal[result.shared ? 0 : r];
        auto full = known ? ones.row(static_cast<int64_t>(k)) : product.row(r);
        for (size_t l = k; l < basis.size(); ++l) {
          double value = full.segment(basis[l].first, basis[l].count).dot(phi[l].row(r));
          a(k, l) += value;
          if (l != k)
            a(l, k) += value;
        }
        right[result.shared ? 0 : r](k) += gradient.row(r).segment(basis[k].first, basis[k].count).dot(phi[k].row(r));
      }
    }
  }

  bool solve(int64_t row, const Eigen::MatrixXd &a, const Eigen::VectorXd &b) {
    // Scale and offset of a grid whose codes are all the same cannot be told apart: a ridge keeps the change small.
    Eigen::MatrixXd ridge = a;
    ridge.diagonal().array() += 1e-8 * a.diagonal().mean() + 1e-300;
    Eigen::VectorXd change = ridge.ldlt().solve(b);
    if (!change.allFinite())
      return false;
    // What counts is the change after rounding.
    auto begin = result.parameters.begin() + row * result.grids();
    std::vector<UniformGrid> grids(begin, begin + result.grids());
    bool lost = false;
    if (result.hasMultiples())
      lost = !makeMultiples(a, change, grids);
    for (size_t k = 0; !result.hasMultiples() && k < basis.size(); ++k) {
      UniformGrid &grid = grids[basis[k].grid];
      float &value = basis[k].offset ? grid.offset : grid.scale, old = value;
      value = storeUniform(old + change(k), result.formats[basis[k].grid], lost);
      if (!basis[k].offset && (value < 0 || (value == 0 && old > 0)))
        return false;
      change(k) = static_cast<double>(value) - old;
    }
    if (lost || !(2 * change.dot(b) - change.dot(a * change) > 0))
      return false;
    std::copy(grids.begin(), grids.end(), begin);
    return true;
  }

  /// The scales that `change` would make, as multiples of one: `change` becomes what the grids change by. False if f16 does not do.
  bool makeMultiples(const Eigen::MatrixXd &a, Eigen::VectorXd &change, std::vector<UniformGrid> &grids) const {
    std::vector<double> scales, old;
    for (size_t k = 0; k < basis.size(); ++k) {
      old.push_back(grids[basis[k].grid].scale);
      scales.push_back(old.back() + change(k));
    }
    RowMajor errors = a;
    const UniformGrid &first = grids[basis[0].grid];
    RowMultiples found = fitMultiples(scales, {errors.data(), errors.rows(), errors.cols()}, result.formats[basis[0].grid],
                                      first.multiple ? first.scale / first.multiple : 0);
    for (size_t k = 0; k < basis.size(); ++k) {
      UniformGrid &grid = grids[basis[k].grid];
      grid.multiple = found.multiples[k];
      grid.scale = found.scale * static_cast<float>(grid.multiple);
      change(k) = grid.scale - old[k];
    }
    return found.scale > 0 && !found.needsF32Scale;
  }

  MatrixViewF64 targets;
  ConstMap hessian;
  RowGrids &result;
  std::vector<Basis> basis;
  RowMajor ones; ///< φ_k·H of the offsets
  std::vector<Eigen::MatrixXd> normal;
  std::vector<Eigen::VectorXd> right;
};

/// Descends in the codes of some rows.
class CodeDescent {
public:
  CodeDescent(MatrixViewF64 targets, const ConstMap &hessian, RowGrids &result, int64_t begin, int64_t rows)
      : hessian(hessian), result(result), begin(begin), rows(rows),
        gradient(makeGradient(targets, hessian, result, begin, rows)) {}

  int64_t pass() {
    constexpr int64_t kBlock = 64;
    int64_t changed = 0;
    RowMajor changes(rows, kBlock);
    for (int64_t first = 0; first < result.columns; first += kBlock) {
      int64_t count = std::min(kBlock, result.columns - first), before = changed;
      changes.setZero();
      for (int64_t j = 0; j < count; ++j)
        for (int64_t r = 0; r < rows; ++r)
          if (double d = change(r, first + j)) {
            ++changed;
            changes(r, j) = d;
            // A change d of T − Ŵ in column j adds d·H_j: to the gradient: within the block at once, elsewhere at its end.
            gradient.row(r).segment(first, count) += d * hessian.row(first + j).segment(first, count);
          }
      if (changed != before)
        finishBlock(first, count, changes);
    }
    return changed;
  }

private:
  /// The change of T − Ŵ at a weight whose code is given its best value; 0 if it has that already.
  double change(int64_t r, int64_t column) {
    int64_t g = result.gridOf(begin + r, column);
    const UniformOptions &format = result.formats[g];
    const UniformGrid &grid = result.parameter(begin + r, g);
    double curvature = hessian(column, column), slope = gradient(r, column);
    if (!(grid.scale > 0) || !(curvature > 0))
      return 0;
    uint8_t &code = result.codes[(begin + r) * result.columns + column];
    double step = std::nearbyint(slope / (grid.scale * curvature));
    auto next = static_cast<uint8_t>(std::clamp<double>(code + step, lowestCode(format), highestCode(format)));
    if (next == code)
      return 0;
    double d = static_cast<double>(decodeUniform(code, grid, format)) - decodeUniform(next, grid, format);
    // Adding d to T − Ŵ in column j changes the error by 2·d·G_j + d²·H_jj.
    if (!(2 * d * slope + d * d * curvature < 0))
      return 0;
    code = next;
    return d;
  }

  /// Most codes stay, so that rows are added one by one: a product of matrices would be of zeros mostly.
  void finishBlock(int64_t first, int64_t count, const RowMajor &changes) {
    int64_t behind = first + count, left = result.columns - behind;
    for (int64_t j = 0; j < count; ++j)
      for (int64_t r = 0; r < rows; ++r)
        if (double d = changes(r, j)) {
          gradient.row(r).head(first) += d * hessian.row(first + j).head(first);
          gradient.row(r).tail(left) += d * hessian.row(first + j).tail(left);
        }
  }

  const ConstMap &hessian;
  RowGrids &result;
  int64_t begin, rows;
  RowMajor gradient; ///< (T − Ŵ)·H
};
} // namespace

RowGrids RowGrids::create(int64_t rows, int64_t columns, std::vector<UniformOptions> formats,
                          std::vector<uint16_t> grid) {
  assert(static_cast<int64_t>(grid.size()) == columns || static_cast<int64_t>(grid.size()) == rows * columns);
  RowGrids result;
  result.rows = rows;
  result.columns = columns;
  result.parameters.resize(static_cast<size_t>(rows) * formats.size());
  result.codes.resize(static_cast<size_t>(rows * columns));
  result.formats = std::move(formats);
  result.grid = std::move(grid);
  return result;
}

bool RowGrids::needsF32Scale() const {
  return std::any_of(parameters.begin(), parameters.end(), [](const UniformGrid &grid) { return grid.needsF32Scale; });
}

RowGrids toRowGrids(const UniformResult &result) {
  std::vector<uint16_t> grid;
  for (int64_t j = 0; j < result.columns; ++j)
    grid.push_back(static_cast<uint16_t>(j / result.groupColumns));
  std::vector<UniformOptions> formats(static_cast<size_t>(result.groups), result.options);
  RowGrids grids = RowGrids::create(result.rows, result.columns, std::move(formats), std::move(grid));
  grids.shared = result.options.group < 0;
  grids.codes = result.codes;
  grids.parameters.clear();
  for (int64_t i = 0; i < result.scaleRows * result.groups; ++i) {
    grids.parameters.push_back(getGrid(result, i));
    grids.parameters.back().needsF32Scale = result.needsF32Scale;
  }
  return grids;
}

UniformResult toUniform(const RowGrids &grids, int64_t group) {
  UniformOptions options = grids.formats.empty() ? UniformOptions() : grids.formats.front();
  options.group = group;
  UniformResult result = makeUniformResult(grids.rows, grids.columns, options);
  result.codes = grids.codes;
  for (size_t i = 0; i < grids.parameters.size(); ++i)
    setGrid(result, static_cast<int64_t>(i), grids.parameters[i]);
  return result;
}

std::vector<double> decodeF64(const RowGrids &result) {
  std::vector<double> decoded(result.codes.size());
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column)
      decoded[row * result.columns + column] = result.decode(row, column);
  return decoded;
}

void fitGrids(MatrixViewF64 weights, const double *importance, RowGrids &result) {
  assert(!result.shared);
  std::vector<std::vector<double>> values(result.formats.size()), factors(result.formats.size());
  MultipleFitter multiples(result.formats.empty() ? UniformOptions() : result.formats.front());
  for (int64_t row = 0; row < result.rows; ++row) {
    for (int64_t g = 0; g < result.grids(); ++g) {
      values[g].clear();
      factors[g].clear();
    }
    for (int64_t j = 0; j < result.columns; ++j) {
      int64_t g = result.gridOf(row, j);
      values[g].push_back(weights(row, j));
      factors[g].push_back(importance ? importance[j] : 1);
    }
    for (int64_t g = 0; g < result.grids(); ++g) {
      MatrixViewF64 part(values[g].data(), 1, static_cast<int64_t>(values[g].size()));
      const double *weight = importance ? factors[g].data() : nullptr;
      if (!values[g].empty())
        result.parameter(row, g) = fitUniformGrid(part, result.formats[g], weight);
      if (result.hasMultiples())
        multiples.add(result.parameter(row, g), part, weight);
    }
    if (result.hasMultiples()) {
      std::vector<UniformGrid> grids = multiples.fit();
      std::copy(grids.begin(), grids.end(), &result.parameter(row, 0));
    }
  }
}

double sweepGrids(MatrixViewF64 weights, const HessianFactor &factor, RowGrids &result, int64_t blockColumns) {
  SweepOptions options;
  options.blockColumns = blockColumns;
  GridQuantizer quantizer(result, factor.order);
  return sweepColumns(weights, factor, options, quantizer).loss;
}

int64_t refitGrids(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result) {
  return result.codes.empty() ? 0 : GridFitter(targets, hessian, result).fit();
}

int64_t descendCodes(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result, unsigned passes) {
  int64_t changed = 0;
  ConstMap h = map(hessian);
  for (int64_t begin = 0; begin < result.rows && result.columns; begin += kRows) {
    CodeDescent descent(targets, h, result, begin, std::min(kRows, result.rows - begin));
    for (unsigned pass = 0; pass < passes; ++pass) {
      int64_t before = changed;
      changed += descent.pass();
      if (changed == before)
        break;
    }
  }
  return changed;
}

void refineGrids(MatrixViewF64 targets, MatrixViewF64 hessian, RowGrids &result, unsigned rounds, unsigned descents) {
  for (unsigned round = 0; round < rounds; ++round) {
    int64_t changed = refitGrids(targets, hessian, result);
    changed += descendCodes(targets, hessian, result, descents);
    if (!changed)
      break;
  }
  if (rounds)
    refitGrids(targets, hessian, result);
}

void solveGrids(MatrixViewF64 targets, const HessianFactor &factor, RowGrids &result) {
  std::vector<double> importance;
  for (int64_t j = 0; j < result.columns; ++j)
    importance.push_back(factor.hessianView()(j, j));
  for (UniformOptions &format : result.formats)
    format.range = RangeSearch::leastSquares();
  fitGrids(targets, importance.data(), result);
  sweepGrids(targets, factor, result);
  refineGrids(targets, factor.hessianView(), result);
}

UniformResult solveRows(MatrixViewF64 targets, const HessianFactor &factor, UniformOptions format) {
  auto solve = [&] {
    RowGrids grids = RowGrids::create(targets.rows(), targets.columns(), {format}, std::vector<uint16_t>(targets.columns(), 0));
    solveGrids(targets, factor, grids);
    return grids;
  };
  RowGrids grids = solve();
  if (grids.needsF32Scale()) {
    format.halfScale = false;
    grids = solve();
  }
  return toUniform(grids, 0);
}

} // namespace quanta
