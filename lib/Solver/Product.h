//===- Product.h - Products of dense matrices -----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_SOLVER_PRODUCT_H
#define QUANTA_LIB_SOLVER_PRODUCT_H

#include "EigenViews.h"

namespace quanta {

/// left · right, with the vectors of the machine at hand: Eigen's own product is compiled for the oldest one, and most of
/// a solver's time goes into this. Each element is the same for any number of rows of `left`.
RowMajor multiply(const Eigen::Ref<const RowMajor> &left, const Eigen::Ref<const RowMajor> &right);

} // namespace quanta

#endif // QUANTA_LIB_SOLVER_PRODUCT_H
