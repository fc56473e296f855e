//===- Target.cpp - Facts about the machines that models are compiled for -----------------------------------------------===//
#include "quanta/Target/Target.h"
#include "quanta/Support/Error.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#if defined(__aarch64__) && defined(__linux__)
#include <sys/prctl.h>
#endif

using namespace llvm;
using quanta::userError;

//===- The table --------------------------------------------------------------------------------------------------------===//

#define QUANTA_FEATURE(name, word, bit, state) name,
static const char *const kX86Checked[] = {
#define QUANTA_X86_FEATURES
#include "../Runtime/features.def"
#undef QUANTA_X86_FEATURES
};
static const char *const kArmChecked[] = {
#define QUANTA_ARM_FEATURES
#include "../Runtime/features.def"
};

static const quanta::ArchitectureFacts kArchitectures[] = {
    {Triple::x86_64, ELF::EM_X86_64, "+64bit", "x86-64", "ld-linux-x86-64.so.2", true, nullptr, kX86Checked},
    {Triple::aarch64, ELF::EM_AARCH64, "+neon", "generic", "ld-linux-aarch64.so.1", false, "+sve", kArmChecked},
};

//===- From names to a target -------------------------------------------------------------------------------------------===//

static void initializeTargets() {
  static bool once = [] {
    InitializeAllTargetInfos();
    InitializeAllTargets();
    InitializeAllTargetMCs();
    InitializeAllAsmPrinters();
    InitializeAllAsmParsers();
    return true;
  }();
  (void)once;
}

bool quanta::isHost(const Triple &triple) {
  Triple host(sys::getDefaultTargetTriple());
  return triple.getArch() == host.getArch() && triple.getOS() == host.getOS();
}

static std::unique_ptr<MCSubtargetInfo> describe(StringRef triple, StringRef cpu, StringRef features) {
  Triple parsed(triple);
  std::string error;
  const llvm::Target *found = TargetRegistry::lookupTarget(parsed, error);
  return std::unique_ptr<MCSubtargetInfo>(found->createMCSubtargetInfo(parsed, cpu, features));
}

/// The length of the scalable vectors of this machine, 0 if it has none.
static unsigned getHostScalableBits() {
#if defined(__aarch64__) && defined(__linux__)
  int length = prctl(PR_SVE_GET_VL);
  return length > 0 ? (length & PR_SVE_VL_LEN_MASK) * 8 : 0;
#else
  return 0;
#endif
}

static bool hasScalableVectors(const quanta::Target &target) {
  const char *name = target.architecture->scalable;
  return name && describe(target.triple, target.cpu, target.features)->checkFeatures(name);
}

/// Uses scalable vectors of at least so many bits; registers of fixed length serve the shortest ones as well.
static void setScalableBits(quanta::Target &target, unsigned bits) {
  target.scalableBits = bits > 128 ? bits : 0;
  target.name = (StringRef(target.name).split('@').first + "@" + Twine(bits)).str();
}

/// Longest first; lengths are powers of two from 128 bits on, and code for 512 runs with longer ones.
static constexpr unsigned kScalableBits[] = {512, 256, 128};

static Error resolveScalableBits(quanta::Target &target, StringRef text, bool native) {
  if (!hasScalableVectors(target))
    return text.empty() ? Error::success()
                        : userError("the vectors of '" + target.cpu + "' have one length: leave '@" + text + "' out of --mcpu");
  unsigned bits = native ? getHostScalableBits() : 0;
  if (!text.empty() && (text.getAsInteger(10, bits) || !is_contained(kScalableBits, bits)))
    return userError("vectors of '" + text + "' bits are unknown: give --mcpu=" + target.cpu + "@512, @256 or @128, or leave the length out");
  for (unsigned length : kScalableBits)
    if (length <= bits) {
      setScalableBits(target, length);
      break;
    }
  return Error::success();
}

/// "a+b": instructions that the core has beside those that its name stands for.
static Error addFeatures(quanta::Target &target, StringRef text) {
  SmallVector<StringRef> names;
  text.split(names, '+', -1, /*KeepEmpty=*/false);
  std::unique_ptr<MCSubtargetInfo> facts = describe(target.triple, "", "");
  for (StringRef name : names) {
    if (none_of(facts->getAllProcessorFeatures(), [&](const SubtargetFeatureKV &known) { return known.Key == name; }))
      return userError("unknown feature '" + name + "' of CPU '" + target.cpu + "' for " + target.triple +
                       ": use a name that `llc --march=" + Triple::getArchTypeName(target.architecture->arch) + " --mattr=help` lists");
    target.features += (target.features.empty() ? "+" : ",+") + name.str();
    target.name += "+" + name.str();
  }
  return Error::success();
}

static Error resolveCPU(quanta::Target &target, StringRef cpu) {
  bool host = quanta::isHost(Triple(target.triple));
  StringRef length, features;
  std::tie(cpu, length) = cpu.split('@');
  std::tie(cpu, features) = cpu.split('+');
  if (cpu.empty())
    cpu = host ? "native" : "generic";
  target.cpu = cpu.str();
  if (cpu == "native") {
    if (!host)
      return userError("--mcpu=native is this machine's core, but the target is " + target.triple +
                       ": name a core that `clang --target=" + target.triple +
                       " --print-supported-cpus` lists, or leave --mcpu out for code that runs on all of them");
    target.cpu = sys::getHostCPUName().str();
    std::vector<std::string> features;
    for (auto &feature : sys::getHostCPUFeatures())
      features.push_back((feature.second ? "+" : "-") + feature.first().str());
    sort(features);
    target.features = join(features, ",");
  }
  bool known = describe(target.triple, "", "")->isCPUStringValid(target.cpu);
  // LLVM knows cores of 32 bits by the same triple.
  if (!known || !describe(target.triple, target.cpu, "")->checkFeatures(target.architecture->is64Bit))
    return userError("unknown CPU '" + target.cpu + "' for " + target.triple +
                     ": use a name that `clang --target=" + target.triple + " --print-supported-cpus` lists" +
                     (host ? ", or 'native'" : ""));
  target.name = target.cpu;
  if (Error failure = addFeatures(target, features))
    return failure;
  return resolveScalableBits(target, length, cpu == "native");
}

Expected<quanta::Target> quanta::Target::resolve(StringRef triple, StringRef cpu) {
  initializeTargets();
  Target target;
  target.triple = Triple::normalize(triple.empty() ? StringRef(sys::getDefaultTargetTriple()) : triple);
  Triple parsed(target.triple);
  std::string error;
  if (!TargetRegistry::lookupTarget(parsed, error))
    return userError("unknown target '" + triple + "'");
  for (const ArchitectureFacts &facts : kArchitectures)
    if (facts.arch == parsed.getArch() && parsed.isOSLinux() && parsed.isArch64Bit())
      target.architecture = &facts;
  if (!target.architecture)
    return userError("cannot compile for '" + triple + "': the targets are x86_64 and aarch64 Linux, for example "
                     "--mtriple=aarch64-linux-gnu");
  if (Error failure = resolveCPU(target, cpu))
    return failure;
  return target;
}

/// Of a feature NAME>=BITS.
static std::optional<unsigned> getLeastLength(StringRef feature) {
  unsigned bits;
  StringRef text = feature.split(">=").second;
  return text.getAsInteger(10, bits) ? std::nullopt : std::optional(bits);
}

/// Only what a program can look for: "+a,+b" for the oldest core.
static void restrictToChecked(quanta::Target &target) {
  std::vector<std::string> features;
  uint64_t checked = target.getCheckedFeatures();
  for (auto [bit, name] : enumerate(target.architecture->checked))
    if (checked >> bit & 1 && !getLeastLength(name))
      features.push_back(("+" + Twine(name)).str());
  target.features = join(features, ",");
  target.cpu = target.architecture->oldest;
}

Expected<std::vector<quanta::Target>> quanta::Target::resolveAll(StringRef triple, ArrayRef<std::string> cpus) {
  std::vector<Target> targets;
  for (StringRef cpu : cpus.empty() ? std::vector<StringRef>{""} : std::vector<StringRef>(cpus.begin(), cpus.end())) {
    auto target = resolve(triple, cpu);
    if (!target)
      return target.takeError();
    if (hasScalableVectors(*target) && !StringRef(target->name).contains('@'))
      for (unsigned bits : kScalableBits) {
        setScalableBits(*target, bits);
        targets.push_back(*target);
      }
    else
      targets.push_back(std::move(*target));
  }
  if (cpus.size() <= 1)
    return targets;
  for (Target &target : targets)
    restrictToChecked(target);
  sort(targets, [](const Target &a, const Target &b) {
    int ofA = popcount(a.getCheckedFeatures()), ofB = popcount(b.getCheckedFeatures());
    return std::tie(ofB, a.name) < std::tie(ofA, b.name);
  });
  for (size_t i = 0; i < targets.size(); ++i)
    for (size_t j = i + 1; j < targets.size(); ++j)
      if (!(targets[i].getCheckedFeatures() & ~targets[j].getCheckedFeatures()))
        return userError("a program cannot tell " + targets[j].name + " from " + targets[i].name +
                         ": leave one of them out of --mcpu");
  return targets;
}

//===- Questions --------------------------------------------------------------------------------------------------------===//

const quanta::TargetLevel &quanta::Target::getLevel() const { return matchTargetLevel(Triple(triple), cpu, features, scalableBits); }

std::string quanta::describeTargets(ArrayRef<Target> targets) {
  std::string text = targets.front().triple;
  for (const Target &target : targets)
    text += ", " + target.name;
  return text;
}

uint64_t quanta::Target::getCheckedFeatures() const {
  std::unique_ptr<MCSubtargetInfo> facts = describe(triple, cpu, features);
  uint64_t found = 0;
  for (auto [bit, name] : enumerate(architecture->checked))
    if (std::optional<unsigned> bits = getLeastLength(name); bits ? scalableBits >= *bits : facts->checkFeatures(("+" + Twine(name)).str()))
      found |= uint64_t(1) << bit;
  return found;
}

quanta::Target quanta::Target::getBaseline() const {
  Target oldest = *this;
  oldest.name = oldest.cpu = architecture->oldest;
  oldest.features.clear();
  oldest.scalableBits = 0;
  return oldest;
}

quanta::EmbeddedRuntime quanta::Target::getRuntime() const {
  const EmbeddedRuntime *runtime = findEmbeddedRuntime(Triple::getArchTypeName(architecture->arch).data());
  assert(runtime && "lib/Runtime/CMakeLists.txt and the table of architectures differ");
  return *runtime;
}
