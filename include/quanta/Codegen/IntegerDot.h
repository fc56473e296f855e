//===- IntegerDot.h - Sums of products of four bytes a lane -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_INTEGERDOT_H
#define QUANTA_CODEGEN_INTEGERDOT_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// True if the target multiplies codes of all eight bits as fast as small ones: then fields need not be shifted down.
bool multipliesWholeBytes(const ::quanta::TargetLevel &level);

/// True if codes of emitIntegerDot may just as well be signed bytes in −127 … 127, said to use 7 bits.
bool multipliesSignedBytes(const ::quanta::TargetLevel &level);

/// sum + Σ₀³ codes[4i + j] · activations[4i + j] for the 16 lanes i, exactly. All are vectors of 16 32-bit words, of which
/// `codes` and `activations` hold four bytes: unsigned ones that use `codeBits` bits, and signed ones of magnitudes up to
/// 2^(activationBits − 1): some targets multiply whole bytes faster by small ones.
Value emitIntegerDot(KernelBuilder &b, Value sum, Value codes, Value activations, unsigned codeBits, unsigned activationBits = 8);

/// True if the target adds up products of bytes in 16 bits, before it takes another instruction to add those sums up in 32.
bool sumsNeighbours(const ::quanta::TargetLevel &level);

/// For the 32 halves i of 16 words, sums[i] + codes[2i] · activations[2i] + codes[2i + 1] · activations[2i + 1]: halves must not overflow, as
/// those of codes of 7 bits do not at the first time. Then what all halves of a word add up to.
Value emitNeighbourDot(KernelBuilder &b, Value sums, Value codes, Value activations);
Value emitNeighbourSum(KernelBuilder &b, Value sums);

/// True if looking bytes up is faster than multiplying single bits: table[16·(i div 16) + indices[i]] for 32 bytes i.
bool looksUpBytes(const ::quanta::TargetLevel &level);
Value emitByteLookup(KernelBuilder &b, Value table, Value indices);

/// True if the target multiplies two rows of eight codes by two rows of eight activations at once.
bool multipliesPairs(const ::quanta::TargetLevel &level);

/// For 16 rows i of codes and two rows t of activations, sums[2i + t] + Σ₀⁷ codes[8i + j] · row t [j], exactly; where the
/// target multipliesPairs. `sums` and `codes` are vectors of 32 32-bit words, of which `codes` hold four unsigned bytes; the rows, `first`
/// and `second`, are vectors of 8 signed bytes.
Value emitPairDot(KernelBuilder &b, Value sums, Value codes, Value first, Value second);

} // namespace mlir::quanta
#endif
