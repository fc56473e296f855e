//===- IntegerDot.h - Sums of products of four bytes a lane -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_INTEGERDOT_H
#define QUANTA_CODEGEN_INTEGERDOT_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// True if the target multiplies codes of all eight bits as fast as small ones: then fields need not be shifted down.
bool multipliesWholeBytes(const ::quanta::TargetLevel &level);

/// sum + Σ₀³ codes[4i + j] · activations[4i + j] for the 16 lanes i, exactly. All are vectors of 16 32-bit words, of which
/// `codes` and `activations` hold four bytes: unsigned ones that use `codeBits` bits, and signed ones in −127 … 127.
Value emitIntegerDot(KernelBuilder &b, Value sum, Value codes, Value activations, unsigned codeBits);

} // namespace mlir::quanta
#endif
