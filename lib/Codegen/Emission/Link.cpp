//===- Link.cpp - Running the linker ------------------------------------------------------------------------------------===//
#include "quanta/Codegen/Link.h"
#include "quanta/Support/Error.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using ::quanta::userError;

static Expected<std::string> findLinker() {
  if (auto path = sys::Process::GetEnv("QUANTA_LLD")) {
    if (sys::fs::can_execute(*path))
      return *path;
    return userError("QUANTA_LLD names '" + *path + "', which is not a program");
  }
  for (StringRef name : {"ld.lld-22", "ld.lld"})
    for (bool packaged : {true, false})
      if (auto path = packaged ? sys::findProgramByName(name, {"/usr/lib/llvm-22/bin"}) : sys::findProgramByName(name))
        return *path;
  return userError("linking needs ld.lld, which was not found: install the package lld-22, or name the program in the "
                   "environment variable QUANTA_LLD");
}

/// Runs a program; what it says becomes the error.
static Error run(StringRef program, ArrayRef<std::string> arguments) {
  SmallString<128> messages;
  if (std::error_code ec = sys::fs::createTemporaryFile("quanta-link", "txt", messages))
    return userError("cannot make a temporary file: " + ec.message());
  FileRemover cleanup(messages);
  std::vector<StringRef> args{program};
  args.insert(args.end(), arguments.begin(), arguments.end());
  std::optional<StringRef> redirects[] = {StringRef(), StringRef(messages), StringRef(messages)};
  std::string failure;
  int code = sys::ExecuteAndWait(program, args, std::nullopt, redirects, 0, 0, &failure);
  if (code == 0)
    return Error::success();
  if (auto text = MemoryBuffer::getFile(messages))
    failure += (*text)->getBuffer().rtrim();
  return userError("linking failed: " + sys::path::filename(program) +
                   (failure.empty() ? " returned " + std::to_string(code) : ": " + failure));
}

static Error runLinker(std::vector<std::string> arguments, ArrayRef<std::string> objects, StringRef output) {
  auto linker = findLinker();
  if (!linker)
    return linker.takeError();
  arguments.insert(arguments.end(), {"--build-id=none", "-o", output.str()});
  arguments.insert(arguments.end(), objects.begin(), objects.end());
  return run(*linker, arguments);
}

Error mlir::quanta::linkRelocatable(ArrayRef<std::string> objects, StringRef output) {
  return runLinker({"-r"}, objects, output);
}

/// "aarch64-linux-gnu": how Debian and the makers of cross compilers name a system.
static std::string getSystemName(const Triple &triple) {
  StringRef environment = triple.getEnvironmentName();
  return (Triple::getArchTypeName(triple.getArch()) + "-linux-" + (environment.empty() ? "gnu" : environment)).str();
}

/// A shared library of the C library for the target, or an empty string.
static std::string findSystemLibrary(StringRef name, const Triple &triple) {
  std::string system = getSystemName(triple);
  std::vector<std::string> folders = {"/lib/" + system, "/usr/lib/" + system, "/usr/" + system + "/lib"};
  if (::quanta::isHost(triple))
    folders.insert(folders.end(), {"/lib64", "/usr/lib64", "/lib", "/usr/lib"});
  for (const std::string &folder : folders) {
    std::string path = folder + "/" + name.str();
    if (sys::fs::exists(path))
      return path;
  }
  return {};
}

Error mlir::quanta::linkShared(ArrayRef<std::string> objects, StringRef name, const ::quanta::Target &target,
                               StringRef folder, StringRef output) {
  SmallString<128> script(folder);
  sys::path::append(script, "exports.map");
  std::error_code ec;
  raw_fd_ostream os(script, ec);
  if (ec)
    return userError("cannot write '" + script + "': " + ec.message());
  os << "{ global:";
  for (StringRef function : {"create", "run", "reset", "destroy", "info", "last_error"})
    os << " " << name << "_" << function << ";";
  os << " quanta_api_table; quanta_pool_create; quanta_pool_destroy; local: *; };\n";
  os.close();

  // No soname: programs find the library under the name that its file has. References stay inside, so that models of
  // different versions of Quanta can be loaded into one program.
  std::vector<std::string> arguments = {"-shared", "-Bsymbolic", "-znow", "-zrelro", "-znoexecstack", "--hash-style=gnu",
                                        "--eh-frame-hdr", "--gc-sections", "--version-script=" + script.str().str()};
  std::vector<std::string> inputs(objects.begin(), objects.end());
  Triple triple(target.triple);
  // Without the target's C library its functions stay undefined, for the loader to find.
  std::string libc = findSystemLibrary("libc.so.6", triple);
  if (!libc.empty()) {
    arguments.insert(arguments.end(), {"--no-undefined", "--as-needed"});
    inputs.push_back(libc);
    // Part of libc since glibc 2.34, except for the mathematical functions and the lookup of thread-local variables.
    for (StringRef library : {"libm.so.6", "libpthread.so.0", target.architecture->loader})
      if (std::string path = findSystemLibrary(library, triple); !path.empty())
        inputs.push_back(path);
  }
  return runLinker(std::move(arguments), inputs, output);
}

static Expected<std::string> findCompiler(const ::quanta::Target &target) {
  Triple triple(target.triple);
  if (!::quanta::isHost(triple)) {
    std::string name = getSystemName(triple) + "-gcc";
    if (auto path = sys::findProgramByName(name))
      return *path;
    return userError("an executable for " + target.triple + " needs " + name +
                     " for linking: install it (Debian: the package gcc-" + getSystemName(triple) +
                     "), or make an object or a shared library (-o model.o, -o model.so)");
  }
  for (StringRef name : {"cc", "gcc", "clang-22", "clang"})
    if (auto path = sys::findProgramByName(name))
      return *path;
  if (auto path = sys::findProgramByName("clang", {"/usr/lib/llvm-22/bin"}))
    return *path;
  return userError("an executable needs a C compiler for linking: install gcc or clang, or make a shared library "
                   "(--emit=lib) and run it with quant-run");
}

Error mlir::quanta::linkExecutable(ArrayRef<std::string> objects, const ::quanta::Target &target, StringRef output) {
  auto compiler = findCompiler(target);
  if (!compiler)
    return compiler.takeError();
  std::vector<std::string> arguments(objects.begin(), objects.end());
  arguments.insert(arguments.end(), {"-o", output.str(), "-lm", "-lpthread", "-Wl,--build-id=none"});
  return run(*compiler, arguments);
}
