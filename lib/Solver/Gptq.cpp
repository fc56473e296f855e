//===- Gptq.cpp - Uniform codes that minimize the error of a layer's output ----------------------------------------------===//
#include "quanta/Solver/Gptq.h"
#include "EigenViews.h"
#include "quanta/Solver/UniformGrid.h"
#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace quanta {

namespace {
int64_t gridIndex(const UniformResult &result, int64_t row, int64_t column) {
  return (result.scaleRows == 1 ? 0 : row) * result.groups + column / result.groupColumns;
}

/// Whether grids are found during the sweep.
bool isDynamic(const GptqOptions &options, int64_t columns) {
  int64_t group = options.uniform.group;
  return options.sweep && !options.staticGroups && group > 0 && group < columns;
}

/// Grids from all weights of their group.
void fitStaticGrids(MatrixViewF64 targets, const double *importance, UniformResult &result) {
  for (int64_t scaleRow = 0; scaleRow < result.scaleRows; ++scaleRow)
    for (int64_t group = 0; group < result.groups; ++group) {
      int64_t begin = group * result.groupColumns, count = std::min(result.groupColumns, result.columns - begin);
      bool whole = result.options.group < 0;
      MatrixViewF64 part = targets.block(whole ? 0 : scaleRow, begin, whole ? result.rows : 1, count);
      setGrid(result, scaleRow * result.groups + group,
              fitUniformGrid(part, result.options, importance ? importance + begin : nullptr));
    }
}

class UniformQuantizer : public SweepQuantizer {
public:
  UniformQuantizer(UniformResult &result, const std::vector<int64_t> &order, bool dynamic, const double *importance)
      : result(result), order(order), dynamic(dynamic), importance(importance) {}

  /// Dynamic groups, whose order is the natural one: the grids of a group are found when its first column comes.
  void beginBlock(int64_t begin, int64_t end, const double *weights) override {
    if (!dynamic || begin % result.groupColumns)
      return;
    int64_t count = std::min(result.groupColumns, result.columns - begin), group = begin / result.groupColumns;
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t row = 0; row < result.rows; ++row) {
      for (int64_t j = 0; j < count; ++j)
        values[j] = weights[(begin + j) * result.rows + row];
      setGrid(result, row * result.groups + group,
              fitUniformGrid({values.data(), 1, count}, result.options, importance ? importance + begin : nullptr));
    }
  }

  void quantizeColumn(int64_t position, const double *column, double *quantized) override {
    int64_t j = order[position];
    for (int64_t row = 0; row < result.rows; ++row) {
      UniformGrid grid = getGrid(result, gridIndex(result, row, j));
      uint8_t code = encodeUniform(column[row], grid, result.options);
      result.codes[row * result.columns + j] = code;
      quantized[row] = decodeUniform(code, grid, result.options);
    }
  }

private:
  UniformResult &result;
  const std::vector<int64_t> &order;
  bool dynamic;
  const double *importance;
};

/// Least squares for the scales of some rows at a time. The parameters θ of a scale row are the scales s_g of its
/// groups and then, with Offset, their offsets o_g. Ŵ = Σ_g s_g·φ_g + o_g·1_g with φ_g the levels of the codes in group
/// g and 0 elsewhere, and 1_g likewise. The best change δ of θ solves A·δ = b, A = Φ·H·Φᵀ, b = Φ·H·(T − Ŵ)ᵀ; it lowers
/// the error by 2·δᵀb − δᵀA·δ.
class ScaleFitter {
public:
  ScaleFitter(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result)
      : targets(targets), hessian(map(hessian)), result(result), groups(result.groups),
        offset(result.options.zero == UniformZero::Offset), parameters(offset ? 2 * groups : groups) {
    if (!offset)
      return;
    ones.resize(groups, result.columns);
    for (int64_t g = 0; g < groups; ++g)
      ones.row(g) = this->hessian.middleRows(first(g), count(g)).colwise().sum();
  }

  int64_t fit() {
    // So many rows that the products are worth the name; their matrices A fit into memory.
    constexpr int64_t kRows = 32;
    int64_t changed = 0;
    bool whole = result.scaleRows == 1;
    start(whole ? 1 : kRows);
    for (int64_t row = 0; row < result.rows; row += kRows) {
      int64_t rows = std::min(kRows, result.rows - row);
      if (!whole)
        start(rows);
      accumulate(row, rows, whole);
      for (int64_t r = 0; !whole && r < rows; ++r)
        changed += solve(row + r, normal[r], right[r]);
    }
    return whole ? solve(0, normal[0], right[0]) : changed;
  }

private:
  int64_t first(int64_t group) const { return group * result.groupColumns; }
  int64_t count(int64_t group) const { return std::min(result.groupColumns, result.columns - first(group)); }

  void start(int64_t systems) {
    normal.assign(static_cast<size_t>(systems), Eigen::MatrixXd::Zero(parameters, parameters));
    right.assign(static_cast<size_t>(systems), Eigen::VectorXd::Zero(parameters));
  }

  void accumulate(int64_t row, int64_t rows, bool whole) {
    RowMajor levels(rows, result.columns), difference(rows, result.columns);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < result.columns; ++j) {
        UniformGrid grid = getGrid(result, gridIndex(result, row + r, j));
        uint8_t code = result.codes[(row + r) * result.columns + j];
        levels(r, j) = uniformLevel(code, grid, result.options);
        difference(r, j) = targets(row + r, j) - decodeUniform(code, grid, result.options);
      }
    RowMajor gradient = difference * hessian, product(rows, result.columns);
    for (int64_t g = 0; g < groups; ++g) {
      product.noalias() = levels.middleCols(first(g), count(g)) * hessian.middleRows(first(g), count(g));
      for (int64_t r = 0; r < rows; ++r) {
        Eigen::MatrixXd &a = normal[whole ? 0 : r];
        Eigen::VectorXd &b = right[whole ? 0 : r];
        for (int64_t k = 0; k < groups; ++k) {
          auto part = product.row(r).segment(first(k), count(k));
          a(g, k) += part.dot(levels.row(r).segment(first(k), count(k)));
          if (offset) {
            double mixed = part.sum();
            a(g, groups + k) += mixed;
            a(groups + k, g) += mixed;
            a(groups + g, groups + k) += ones.row(g).segment(first(k), count(k)).sum();
          }
        }
        auto part = gradient.row(r).segment(first(g), count(g));
        b(g) += part.dot(levels.row(r).segment(first(g), count(g)));
        if (offset)
          b(groups + g) += part.sum();
      }
    }
  }

  bool solve(int64_t scaleRow, const Eigen::MatrixXd &a, const Eigen::VectorXd &b) {
    // Scale and offset of a group whose codes are all the same cannot be told apart: a ridge keeps the change small.
    Eigen::MatrixXd ridge = a;
    ridge.diagonal().array() += 1e-8 * a.diagonal().mean() + 1e-300;
    Eigen::VectorXd change = ridge.ldlt().solve(b);
    if (!change.allFinite())
      return false;
    // What counts is the change after rounding.
    std::vector<UniformGrid> grids;
    bool lost = false;
    for (int64_t g = 0; g < groups; ++g) {
      UniformGrid grid = getGrid(result, scaleRow * groups + g), old = grid;
      grid.scale = storeUniform(old.scale + change(g), result.options, lost);
      if (offset)
        grid.offset = storeUniform(old.offset + change(groups + g), result.options, lost);
      if (grid.scale < 0 || (grid.scale == 0 && old.scale > 0))
        return false;
      change(g) = static_cast<double>(grid.scale) - old.scale;
      if (offset)
        change(groups + g) = static_cast<double>(grid.offset) - old.offset;
      grids.push_back(grid);
    }
    if (lost || !(2 * change.dot(b) - change.dot(a * change) > 0))
      return false;
    for (int64_t g = 0; g < groups; ++g)
      setGrid(result, scaleRow * groups + g, grids[g]);
    return true;
  }

  MatrixViewF64 targets;
  ConstMap hessian;
  UniformResult &result;
  int64_t groups;
  bool offset;
  int64_t parameters;
  RowMajor ones; ///< 1_g·H
  std::vector<Eigen::MatrixXd> normal;
  std::vector<Eigen::VectorXd> right;
};
} // namespace

std::vector<double> decodeF64(const UniformResult &result) {
  std::vector<double> decoded(result.codes.size());
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t column = 0; column < result.columns; ++column)
      decoded[row * result.columns + column] = result.decode(row, column);
  return decoded;
}

int64_t refitScales(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result) {
  return result.codes.empty() ? 0 : ScaleFitter(targets, hessian, result).fit();
}

int64_t descendCodes(MatrixViewF64 targets, MatrixViewF64 hessian, UniformResult &result, unsigned passes) {
  constexpr int64_t kBlock = 64;
  int64_t rows = result.rows, columns = result.columns, changed = 0;
  if (!rows || !columns)
    return 0;
  const int lowest = lowestCode(result.options), highest = highestCode(result.options);
  std::vector<double> decoded = decodeF64(result);
  // G = (T − Ŵ)·H; a change d of T − Ŵ in column j adds d·H_j: to it. Within a block at once, elsewhere at its end.
  Eigen::MatrixXd gradient = (map(targets) - map({decoded.data(), rows, columns})) * map(hessian);
  ConstMap h = map(hessian);
  for (unsigned pass = 0; pass < passes; ++pass) {
    int64_t before = changed;
    for (int64_t begin = 0; begin < columns; begin += kBlock) {
      int64_t count = std::min(kBlock, columns - begin), end = begin + count;
      Eigen::MatrixXd changes = Eigen::MatrixXd::Zero(rows, count);
      int64_t beforeBlock = changed;
      for (int64_t j = begin; j < end; ++j) {
        auto change = changes.col(j - begin);
        int64_t beforeColumn = changed;
        for (int64_t row = 0; row < rows; ++row) {
          UniformGrid grid = getGrid(result, gridIndex(result, row, j));
          if (!(grid.scale > 0) || !(h(j, j) > 0))
            continue;
          uint8_t &code = result.codes[row * columns + j];
          double step = std::nearbyint(gradient(row, j) / (grid.scale * h(j, j)));
          uint8_t next = static_cast<uint8_t>(std::clamp<double>(code + step, lowest, highest));
          double d = static_cast<double>(decodeUniform(code, grid, result.options)) -
                     decodeUniform(next, grid, result.options);
          // Adding d to T − Ŵ in column j changes the error by 2·d·G_j + d²·H_jj.
          if (next == code || !(2 * d * gradient(row, j) + d * d * h(j, j) < 0))
            continue;
          code = next;
          change(row) = d;
          ++changed;
        }
        if (changed != beforeColumn)
          for (int64_t k = begin; k < end; ++k)
            gradient.col(k).noalias() += h(j, k) * change;
      }
      if (changed == beforeBlock)
        continue;
      gradient.leftCols(begin).noalias() += changes * h.block(begin, 0, count, begin);
      gradient.rightCols(columns - end).noalias() += changes * h.block(begin, end, count, columns - end);
    }
    if (changed == before)
      break;
  }
  return changed;
}

FactorOptions gptqFactorOptions(const GptqOptions &options, int64_t columns) {
  FactorOptions factorOptions;
  factorOptions.damping = options.damping;
  // Groups of columns that do not come one after the other have no first column that could find their grid.
  factorOptions.actOrder = options.actOrder && !isDynamic(options, columns);
  return factorOptions;
}

GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const GptqOptions &options, MatrixViewF64 cross) {
  HessianFactor factor = factorHessian(hessian, gptqFactorOptions(options, weights.columns()));
  return quantizeGptq(weights, hessian, factor, options, cross);
}

GptqResult solveGptq(MatrixViewF64 targets, const HessianFactor &factor, const GptqOptions &options) {
  int64_t rows = targets.rows(), columns = targets.columns();
  assert(factor.columns == columns);
  GptqResult result;
  UniformResult &uniform = result.uniform;
  uniform = makeUniformResult(rows, columns, options.uniform);
  bool dynamic = isDynamic(options, columns);
  assert(!dynamic || std::is_sorted(factor.order.begin(), factor.order.end()));
  result.status = factor.status;
  result.damping = factor.damping;
  result.order = factor.order;

  std::vector<double> diagonal;
  for (int64_t j = 0; options.weightedRange && j < columns; ++j)
    diagonal.push_back(factor.hessianView()(j, j));
  const double *importance = options.weightedRange ? diagonal.data() : nullptr;
  if (!dynamic)
    fitStaticGrids(targets, importance, uniform);

  if (options.sweep) {
    SweepOptions sweepOptions;
    sweepOptions.blockColumns = options.blockColumns;
    for (int64_t start = 0; dynamic && start < columns; start += uniform.groupColumns)
      sweepOptions.blockStarts.push_back(start);
    UniformQuantizer quantizer(uniform, factor.order, dynamic, importance);
    SweepResult swept = sweepColumns(targets, factor, sweepOptions, quantizer);
    result.sweepLoss = swept.loss;
    result.columnLoss = std::move(swept.columnLoss);
  } else {
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t j = 0; j < columns; ++j)
        uniform.codes[row * columns + j] =
            encodeUniform(targets(row, j), getGrid(uniform, gridIndex(uniform, row, j)), uniform.options);
  }

  for (unsigned i = 0; i < options.refinements; ++i) {
    int64_t changed = options.refitScales ? refitScales(targets, factor.hessianView(), uniform) : 0;
    changed += descendCodes(targets, factor.hessianView(), uniform, options.descents);
    if (!changed)
      break;
  }
  if (options.refinements && options.refitScales)
    refitScales(targets, factor.hessianView(), uniform);
  return result;
}

GptqResult quantizeGptq(MatrixView weights, MatrixViewF64 hessian, const HessianFactor &factor,
                        const GptqOptions &options, MatrixViewF64 cross) {
  int64_t rows = weights.rows(), columns = weights.columns();
  assert(hessian.rows() == columns && hessian.columns() == columns);
  assert(!cross.rows() || (cross.rows() == columns && cross.columns() == columns));
  if (!isFinite(weights)) {
    GptqResult result;
    result.uniform.options = options.uniform;
    result.uniform.rows = rows;
    result.uniform.columns = columns;
    result.uniform.nonFinite = true;
    return result;
  }
  std::vector<double> targetValues;
  targetValues.reserve(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; ++row)
    targetValues.insert(targetValues.end(), weights.row(row), weights.row(row) + columns);
  if (cross.rows())
    targetValues = correctTargets({targetValues.data(), rows, columns}, hessian, cross, factor);
  zeroDeadColumns({targetValues.data(), rows, columns}, factor);
  MatrixViewF64 targets(targetValues.data(), rows, columns);
  GptqResult result = solveGptq(targets, factor, options);

  bool replaced = factor.status == FactorStatus::Diagonal || factor.status == FactorStatus::NonFinite;
  MatrixViewF64 measure = replaced ? factor.hessianView() : hessian;
  std::vector<double> decoded = decodeF64(result.uniform), zeros(decoded.size());
  double whole = hessianError(targets, {zeros.data(), rows, columns}, measure);
  result.layerError =
      whole > 0 ? std::max(hessianError(targets, {decoded.data(), rows, columns}, measure) / whole, 0.0) : 0;
  measureError(weights, result.uniform);
  return result;
}

} // namespace quanta
