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

using namespace llvm;
using quanta::userError;

//===- The table --------------------------------------------------------------------------------------------------------===//

static const quanta::ArchitectureFacts kArchitectures[] = {
    {Triple::x86_64, ELF::EM_X86_64, "ld-linux-x86-64.so.2", true},
    {Triple::aarch64, ELF::EM_AARCH64, "ld-linux-aarch64.so.1", false},
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

static bool isKnown(StringRef cpu, const Triple &triple) {
  std::string error;
  const llvm::Target *found = TargetRegistry::lookupTarget(triple, error);
  return std::unique_ptr<MCSubtargetInfo>(found->createMCSubtargetInfo(triple, "", ""))->isCPUStringValid(cpu);
}

static Error resolveCPU(quanta::Target &target, StringRef cpu) {
  bool host = quanta::isHost(Triple(target.triple));
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
  if (!isKnown(target.cpu, Triple(target.triple)))
    return userError("unknown CPU '" + target.cpu + "' for " + target.triple +
                     ": use a name that `clang --target=" + target.triple + " --print-supported-cpus` lists" +
                     (host ? ", or 'native'" : ""));
  return Error::success();
}

Expected<quanta::Target> quanta::Target::resolve(StringRef triple, ArrayRef<std::string> cpus) {
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
  if (cpus.size() > 1)
    return userError("one object for several CPUs is not supported yet: give one of them to --mcpu");
  if (Error failure = resolveCPU(target, cpus.empty() ? StringRef() : StringRef(cpus.front())))
    return failure;
  return target;
}

//===- Questions --------------------------------------------------------------------------------------------------------===//

const quanta::TargetLevel &quanta::Target::getLevel() const { return matchTargetLevel(Triple(triple), cpu, features); }

quanta::EmbeddedRuntime quanta::Target::getRuntime() const {
  const EmbeddedRuntime *runtime = findEmbeddedRuntime(Triple::getArchTypeName(architecture->arch).data());
  assert(runtime && "lib/Runtime/CMakeLists.txt and the table of architectures differ");
  return *runtime;
}
