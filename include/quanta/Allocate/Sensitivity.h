//===- Sensitivity.h - How much a layer matters, without solving it -------------------------------------*- C++ -*-===//
#ifndef QUANTA_ALLOCATE_SENSITIVITY_H
#define QUANTA_ALLOCATE_SENSITIVITY_H

#include "quanta/Allocate/Allocation.h"
#include "quanta/Support/MatrixView.h"

namespace quanta {

/// Layer input modification: −cos between the input and the output of a block, matrices of one shape. The higher, the more
/// the block does, and the more bits it should have.
double layerModification(BasicMatrixView<const double> input, BasicMatrixView<const double> output);

/// Z-score distribution: the share of weights more than `threshold` standard deviations above the mean. The smaller, the
/// more bits the layer should have; needs no data.
double zScoreShare(MatrixView weights, double threshold = 1);

/// n·tr(H): the trace of the Hessian of a layer's squared output error in all its weights, n rows of outputs.
double weightTrace(BasicMatrixView<const double> hessian, int64_t outputs);

/// I_ij = L(i, j) − L(i) − L(j) + L(0), from the loss without changes, with layer i changed, and with both. `single` has n
/// values, `both` [n, n]; returns [n, n], symmetric, zeros on the diagonal. Reads `both` above the diagonal only.
std::vector<double> pairInteractions(double base, const std::vector<double> &single, BasicMatrixView<const double> both);

} // namespace quanta

#endif // QUANTA_ALLOCATE_SENSITIVITY_H
