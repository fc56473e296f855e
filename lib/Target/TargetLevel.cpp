//===- TargetLevel.cpp - What kernel emitters know of a processor ---------------------------------------------------------===//
#include "quanta/Target/TargetLevel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"

using namespace quanta;
using llvm::Triple;

static const TargetLevel levels[] = {
    // name, architecture, features, bits, scalable, registers, dot, f16, counts, lookups, bits, matrices, bf16
    {"x86-amx", Triple::x86_64, "avx512f,avx512bw,avx512vnni,avx512vpopcntdq,avx512bf16,gfni,amx-tile,amx-int8,amx-bf16", 512, false, 32, IntegerDot::X86Vnni, true, true, true, true, MatrixUnit::X86Tiles, BFloatDot::X86Pairs},
    {"x86-avx512-bf16", Triple::x86_64, "avx512f,avx512bw,avx512vnni,avx512vpopcntdq,avx512bf16", 512, false, 32, IntegerDot::X86Vnni, true, true, true, false, MatrixUnit::None, BFloatDot::X86Pairs},
    {"x86-avx512-vpopcnt", Triple::x86_64, "avx512f,avx512bw,avx512vnni,avx512vpopcntdq", 512, false, 32, IntegerDot::X86Vnni, true, true, true, false, MatrixUnit::None, BFloatDot::None},
    {"x86-avx512-vnni-bf16", Triple::x86_64, "avx512f,avx512bw,avx512vnni,avx512bf16", 512, false, 32, IntegerDot::X86Vnni, true, false, true, false, MatrixUnit::None, BFloatDot::X86Pairs},
    {"x86-avx512-vnni", Triple::x86_64, "avx512f,avx512bw,avx512vnni", 512, false, 32, IntegerDot::X86Vnni, true, false, true, false, MatrixUnit::None, BFloatDot::None},
    {"x86-avx512", Triple::x86_64, "avx512f,avx512bw", 512, false, 32, IntegerDot::X86Bytes, true, false, true, false, MatrixUnit::None, BFloatDot::None},
    {"x86-avx-vnni", Triple::x86_64, "avx2,fma,f16c,avxvnni", 256, false, 16, IntegerDot::X86Vnni, true, false, false, false, MatrixUnit::None, BFloatDot::None},
    {"x86-avx2", Triple::x86_64, "avx2,fma,f16c", 256, false, 16, IntegerDot::X86Bytes, true, false, false, false, MatrixUnit::None, BFloatDot::None},
    {"x86", Triple::x86_64, "", 128, false, 16, IntegerDot::X86Words, false, false, false, false, MatrixUnit::None, BFloatDot::None},
    // Where the vectors of SVE have 128 bits, those of NEON do the same.
    {"arm-sve512-i8mm", Triple::aarch64, "sve,i8mm", 512, true, 32, IntegerDot::SveMixed, true, true, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm-sve512", Triple::aarch64, "sve", 512, true, 32, IntegerDot::SveSigned, true, true, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm-sve256-i8mm", Triple::aarch64, "sve,i8mm", 256, true, 32, IntegerDot::SveMixed, true, true, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm-sve256", Triple::aarch64, "sve", 256, true, 32, IntegerDot::SveSigned, true, true, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm-i8mm", Triple::aarch64, "dotprod,i8mm", 128, false, 32, IntegerDot::ArmMixed, true, false, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm-dotprod", Triple::aarch64, "dotprod", 128, false, 32, IntegerDot::ArmSigned, true, false, false, false, MatrixUnit::None, BFloatDot::None},
    {"arm", Triple::aarch64, "", 128, false, 32, IntegerDot::ArmWords, true, false, false, false, MatrixUnit::None, BFloatDot::None},
    {"generic", Triple::UnknownArch, "", 128, false, 16, IntegerDot::Generic, false, false, false, false, MatrixUnit::None, BFloatDot::None},
};

llvm::ArrayRef<TargetLevel> quanta::getTargetLevels() { return levels; }

const TargetLevel *quanta::findTargetLevel(llvm::StringRef name) {
  const TargetLevel *found = llvm::find_if(levels, [&](const TargetLevel &level) { return level.name == name; });
  return found == std::end(levels) ? nullptr : found;
}

const TargetLevel &quanta::matchTargetLevel(const Triple &triple, llvm::StringRef cpu, llvm::StringRef features,
                                              unsigned scalableBits) {
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  std::unique_ptr<llvm::MCSubtargetInfo> facts(target ? target->createMCSubtargetInfo(triple, cpu, features) : nullptr);
  auto serves = [&](const TargetLevel &level) {
    if (level.arch == Triple::UnknownArch)
      return true;
    if (level.arch != triple.getArch() || !facts || (level.scalable && level.vectorBits > scalableBits))
      return false;
    llvm::SmallVector<llvm::StringRef> needed;
    level.features.split(needed, ',', -1, /*KeepEmpty=*/false);
    return llvm::all_of(needed, [&](llvm::StringRef feature) { return facts->checkFeatures(("+" + llvm::Twine(feature)).str()); });
  };
  return *llvm::find_if(levels, serves);
}
