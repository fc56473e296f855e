//===- RunFolder.cpp - Where a calibration run keeps what it has done -----------------------------------------------------===//
#include "quanta/Calibrate/RunFolder.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"

using namespace llvm;

namespace quanta {

uint64_t fingerprintOf(ArrayRef<StringRef> strings) {
  std::string text;
  for (StringRef string : strings)
    text += (Twine(string.size()) + ":" + string).str();
  return xxh3_64bits(text);
}

Expected<std::unique_ptr<RunFolder>> RunFolder::open(StringRef store, uint64_t fingerprint, bool resume) {
  if (store.empty()) {
    SmallString<128> folder;
    if (std::error_code error = sys::fs::createUniqueDirectory("quanta-calibrate", folder))
      return userError("no temporary folder for calibration: " + error.message() + "; set TMPDIR or name one with --store");
    return std::unique_ptr<RunFolder>(new RunFolder(folder.str().str(), true, -1));
  }
  std::string folder = (store + "/run-" + utohexstr(fingerprint, /*LowerCase=*/true, 16)).str();
  if (std::error_code error = sys::fs::create_directories(store))
    return userError("'" + store + "' cannot be made: " + error.message());
  // The lock lies beside the folder, which may be removed.
  int lock;
  if (std::error_code error = sys::fs::openFileForWrite(folder + ".lock", lock, sys::fs::CD_OpenAlways, sys::fs::OF_Append))
    return userError("'" + folder + ".lock' cannot be written: " + error.message());
  if (sys::fs::tryLockFile(lock)) {
    sys::Process::SafelyCloseFileDescriptor(lock);
    return userError("another process calibrates the same model in '" + store + "'; wait for it or use another --store");
  }
  std::unique_ptr<RunFolder> result(new RunFolder(folder, false, lock));
  if (!resume)
    if (std::error_code error = sys::fs::remove_directories(folder, /*IgnoreErrors=*/false))
      return userError("'" + folder + "' cannot be removed: " + error.message());
  if (std::error_code error = sys::fs::create_directories(folder))
    return userError("'" + folder + "' cannot be made: " + error.message());
  return result;
}

RunFolder::~RunFolder() {
  if (temporary)
    sys::fs::remove_directories(folder);
  if (lock >= 0) {
    sys::fs::unlockFile(lock);
    sys::Process::SafelyCloseFileDescriptor(lock);
  }
}

Error RunFolder::startPart(const Twine &name) const {
  removePart(name);
  if (std::error_code error = sys::fs::create_directories(getPath(name)))
    return userError("'" + getPath(name) + "' cannot be made: " + error.message());
  return Error::success();
}

Error RunFolder::completePart(const Twine &name) const {
  std::error_code code;
  raw_fd_ostream os(getPath(name + "/complete"), code);
  if (code)
    return userError("'" + getPath(name) + "' cannot be written: " + code.message());
  return Error::success();
}

bool RunFolder::isComplete(const Twine &name) const { return sys::fs::exists(getPath(name + "/complete")); }

void RunFolder::removePart(const Twine &name) const {
  sys::fs::remove(getPath(name + "/complete")); // first, so that what is left is not taken for all
  sys::fs::remove_directories(getPath(name));
}

uint64_t RunFolder::getPartBytes(const Twine &name) const {
  uint64_t bytes = 0, size;
  std::error_code code;
  for (sys::fs::directory_iterator it(getPath(name), code), end; it != end && !code; it.increment(code))
    if (!sys::fs::file_size(it->path(), size))
      bytes += size;
  return bytes;
}

} // namespace quanta
