//===- SparseLayout.h - Single weights that replace those of a dense matrix --------------------------------------*- C++ -*-===//
#ifndef QUANTA_FORMAT_SPARSELAYOUT_H
#define QUANTA_FORMAT_SPARSELAYOUT_H

#include <cstdint>

namespace quanta {

/// ⌈log2 C(n, k)⌉: the bits that say which k of n were chosen.
int64_t choiceBits(int64_t n, int64_t k);

} // namespace quanta

#endif // QUANTA_FORMAT_SPARSELAYOUT_H
