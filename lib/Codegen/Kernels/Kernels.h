//===- Kernels.h - The table of kernel families ---------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_KERNELS_KERNELS_H
#define QUANTA_LIB_CODEGEN_KERNELS_KERNELS_H

#include "quanta/Codegen/KernelBuilder.h"

namespace mlir::quanta {

/// Arguments of a kernel function, in the groups of the `quanta.kernel` that it implements.
struct KernelArgs {
  DictionaryAttr config;
  ValueRange inputs, weights, outputs;
  func::FuncOp epilogue = {}; ///< what happens to sums before they are stored (Epilogue.h)

  int64_t getInt(StringRef name) const { return cast<IntegerAttr>(config.get(name)).getInt(); }
  float getFloat(StringRef name) const { return cast<FloatAttr>(config.get(name)).getValueAsDouble(); }
  bool has(StringRef name) const { return config.contains(name); }
  ArrayRef<int64_t> getInts(StringRef name) const { return cast<DenseI64ArrayAttr>(config.get(name)).asArrayRef(); }
};

using KernelEmitter = void (*)(KernelBuilder &, const KernelArgs &);

// y[M, N] = x[M, K] · Wᵀ + bias. ins: x, bias?; weights: tiles of W; config: encoding, shape. With config `activation`, x is encoded
// (IntegerLinear.h, BFloatLinear.h).
void emitLinear(KernelBuilder &, const KernelArgs &);
// The same where x is f32, whatever `activation` says.
void emitFloatLinear(KernelBuilder &, const KernelArgs &);
// y[B, H, M, N] = scale · lhs[B, H, M, K] · rhs[B|1, G|1, K, N] (or rhsᵀ); H a multiple of G. config: transpose_rhs?, scale.
void emitMatmul(KernelBuilder &, const KernelArgs &);
// As matmul, of codes that the kernel makes of its operands (CodedProduct.h). config: also lhs and rhs, their encodings. Scales of rows are those of rhsᵀ.
void emitIntegerMatmul(KernelBuilder &, const KernelArgs &);
// y[N, O, OH, OW] from x[N, C, H, W]. ins: x, bias?; weights: tiles of W; config: encoding, shape, strides, dilations, pads, groups.
void emitConv2D(KernelBuilder &, const KernelArgs &);
// Rows of a [R, C] input. ins: x, scale, bias?; config: epsilon.
void emitLayerNorm(KernelBuilder &, const KernelArgs &);
void emitRMSNorm(KernelBuilder &, const KernelArgs &);
// In place on the output [B, H, S, T]. ins: additive mask [B|1, H|1, S|1, T]?
void emitSoftmax(KernelBuilder &, const KernelArgs &);
// ins: x [B, H, S, D], cos, sin [B|1, H|1, S, D].
void emitRotary(KernelBuilder &, const KernelArgs &);
// y[I, D] = table[indices[I]]. ins: indices; weights: table [V, D] or tiles of it.
void emitEmbedding(KernelBuilder &, const KernelArgs &);

// Writes x [B, H, S, D] to the positions from `past` on of a cache, in place. ins: x, past (index); outs: the cache's arrays;
// config: cache (its type), key?.
void emitCacheAppend(KernelBuilder &, const KernelArgs &);
// y[B, G, M, E] = softmax(scale · q·kᵀ + mask) · v over a cache. ins: q [B, G, M, D] (M = repeats · S queries that read the same
// head of keys, S positions of each of `repeats` query heads), positions in the cache (index), mask [B|1, G·repeats|1, S|1,
// T|1]?; weights: the arrays of the keys, of the values and, where keys are stored before their rotation, of cosines and sines;
// config: key, value, cos?, sin? (types of the caches), repeats, scale.
void emitAttention(KernelBuilder &, const KernelArgs &);
// codes [M, K′] of x [M, K], signed bytes or for #quanta.narrow<bf16> i16, zeros from column K on. config: activation, the encoding. ins: x; for several segments
// of #quanta.affine also 1 / scale and the zero point of each column [K]. outs: codes; for #quanta.uniform also scales [M], and
// offsets [M] if it has them.
void emitQuantize(KernelBuilder &, const KernelArgs &);

// Signs (Signs.h) of x [M, K] as [M, 1 or 2, words] or x [N, C, H, W] as [N, 2 · words, H, W], the nonzero ones behind the positive ones. ins: x;
// config: of_zero (the sign of zero).
void emitSigns(KernelBuilder &, const KernelArgs &);
// As linear and conv2d, of signs. ins: signs, bias?; weights: tiles of W, its columns reordered (Signs.h); config: encoding, matrix (its rows
// and columns), columns (of the layer's own), for convolutions shape, strides, dilations, pads.
void emitSignLinear(KernelBuilder &, const KernelArgs &);
void emitSignConv2D(KernelBuilder &, const KernelArgs &);

/// The emitter of a family, or null.
KernelEmitter lookupKernel(StringRef family);

} // namespace mlir::quanta
#endif
