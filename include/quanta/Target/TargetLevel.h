//===- TargetLevel.h - What kernel emitters know of a processor -----------------------------------------------*- C++ -*-===//
//
// Emitters never ask for a feature by name. They get a level, a row of the one table in TargetLevel.cpp, and act on what the
// row says; a processor is served by the first row all of whose features it has.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_TARGET_TARGETLEVEL_H
#define QUANTA_TARGET_TARGETLEVEL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/TargetParser/Triple.h"

namespace quanta {

/// The instruction that multiplies small integers and adds neighbours up: lane i of a 32-bit sum grows by
/// Σ₀³ code[4i + j] · activation[4i + j], codes unsigned and activations in −127 … 127. Registers are as wide as vectors.
enum class IntegerDot {
  Generic,   ///< widening multiplications of vectors
  X86Words,  ///< pmaddwd on bytes widened to 16 bits
  X86Bytes,  ///< pmaddubsw and pmaddwd; sums of pairs saturate for codes above 127
  X86Vnni,   ///< vpdpbusd
  ArmWords,  ///< smull, addp, sadalp; codes below 128
  ArmSigned, ///< sdot; codes below 128
  ArmMixed,  ///< usdot
  SveSigned, ///< sdot of scalable vectors; codes below 128
  SveMixed,  ///< usdot of scalable vectors
};

/// The instructions that multiply matrices of bytes which lie in registers of their own.
enum class MatrixUnit {
  None,
  X86Tiles, ///< AMX: 16 rows of 64 bytes a register
};

/// The instruction that multiplies pairs of bf16: lane i of an f32 sum grows by x[2i] · y[2i] + x[2i + 1] · y[2i + 1].
enum class BFloatDot {
  None,     ///< f32 is multiplied instead
  X86Pairs, ///< vdpbf16ps; the unit for matrices, if there is one, has tdpbf16ps
};

struct TargetLevel {
  llvm::StringRef name;
  llvm::Triple::ArchType arch; ///< UnknownArch: any
  llvm::StringRef features;    ///< all that it needs, as LLVM spells them, separated by commas
  unsigned vectorBits;         ///< width of the widest vectors it computes with: 128, 256 or 512
  bool scalable;               ///< they may be wider, and what lies above is not used
  unsigned vectorRegisters;    ///< of that width
  IntegerDot dot;
  bool widensHalf;             ///< has an instruction from f16 to f32
  bool countsWords;            ///< has one that counts the bits of lanes of 32 bits; else bytes are counted
  bool looksUp16;              ///< has one that picks any of 16 lanes of 32 bits for every lane
  bool permutesBits;           ///< has one that makes each bit of a byte from any of its bits
  MatrixUnit matrix;
  BFloatDot bfloats;
};

/// Best first; the last one serves every processor.
llvm::ArrayRef<TargetLevel> getTargetLevels();
/// Null if there is none of this name.
const TargetLevel *findTargetLevel(llvm::StringRef name);
/// For an LLVM triple, CPU and feature string, for which LLVM's targets must be initialized, and scalable vectors of at least so many
/// bits, 0 if they are not used.
const TargetLevel &matchTargetLevel(const llvm::Triple &triple, llvm::StringRef cpu, llvm::StringRef features, unsigned scalableBits);

} // namespace quanta

#endif // QUANTA_TARGET_TARGETLEVEL_H
