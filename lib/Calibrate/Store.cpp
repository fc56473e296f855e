//===- Store.cpp - Statistics on disk -------------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Store.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"

using namespace llvm;

namespace quanta {

static constexpr StringLiteral kSuffix = ".qstats";

uint64_t StoreKey::getFingerprint() const { return fingerprintOf({layer, utohexstr(run)}); }

static Expected<std::unique_ptr<MemoryBuffer>> openFile(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return userError("'" + path + "' cannot be read: " + buffer.getError().message());
  return std::move(*buffer);
}

static Error write(StringRef path, const Statistics &statistics) {
  // Under another name first, then renamed.
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    statistics.serialize(os);
    return Error::success();
  });
  if (error)
    return userError("'" + path + "' cannot be written: " + toString(std::move(error)));
  return Error::success();
}

Expected<StatisticsStore> StatisticsStore::open(StringRef folder) {
  if (std::error_code error = sys::fs::create_directories(folder))
    return userError("'" + folder + "' cannot be made: " + error.message());
  return StatisticsStore(folder.str());
}

std::string StatisticsStore::getPath(const StoreKey &key) const {
  // The name is for readers; what tells files apart is the fingerprint.
  std::string name = StringRef(key.layer).take_back(80).str();
  for (char &c : name)
    if (!isAlnum(c) && c != '_')
      c = '_';
  SmallString<256> path(folder);
  sys::path::append(path, name + "-" + utohexstr(key.getFingerprint(), /*LowerCase=*/true, 16) + kSuffix);
  return path.str().str();
}

bool StatisticsStore::has(const StoreKey &key) const {
  std::string path = getPath(key);
  auto bytes = openFile(path);
  if (!bytes) {
    consumeError(bytes.takeError());
    return false;
  }
  Expected<uint64_t> found = Statistics::parseHeader((*bytes)->getBuffer(), path);
  if (!found) {
    consumeError(found.takeError());
    return false;
  }
  return *found == key.getFingerprint();
}

Expected<Statistics> StatisticsStore::load(const StoreKey &key) const {
  std::string path = getPath(key);
  auto bytes = openFile(path);
  if (!bytes)
    return bytes.takeError();
  Expected<Statistics> statistics = Statistics::parse((*bytes)->getBuffer(), path);
  if (statistics && statistics->getFingerprint() != key.getFingerprint())
    return userError("'" + path + "' holds statistics of something else; remove it to take them again");
  return statistics;
}

Error StatisticsStore::save(const StoreKey &key, const Statistics &statistics) const {
  assert(statistics.getFingerprint() == key.getFingerprint() && "would not be found again");
  return write(getPath(key), statistics);
}

Error StatisticsStore::mergeFrom(const StatisticsStore &other) const {
  std::vector<std::string> names;
  std::error_code code;
  for (sys::fs::directory_iterator it(other.folder, code), end; it != end && !code; it.increment(code))
    if (StringRef name = sys::path::filename(it->path()); name.ends_with(kSuffix))
      names.push_back(name.str());
  if (code)
    return userError("'" + other.folder + "' cannot be read: " + code.message());
  sort(names);
  for (const std::string &name : names) {
    SmallString<256> from(other.folder), to(folder);
    sys::path::append(from, name);
    sys::path::append(to, name);
    auto bytes = openFile(from);
    if (!bytes)
      return bytes.takeError();
    Expected<Statistics> theirs = Statistics::parse((*bytes)->getBuffer(), from);
    if (!theirs)
      return theirs.takeError();
    if (!StringRef(name).drop_back(kSuffix.size()).ends_with("-" + utohexstr(theirs->getFingerprint(), true, 16)))
      return userError("'" + from + "' holds statistics of something else; remove it to take them again");
    if (!sys::fs::exists(to)) {
      if (Error error = write(to, *theirs))
        return error;
      continue;
    }
    auto here = openFile(to);
    if (!here)
      return here.takeError();
    Expected<Statistics> mine = Statistics::parse((*here)->getBuffer(), to);
    if (!mine)
      return mine.takeError();
    if (mine->getFingerprint() == theirs->getFingerprint() && mine->getOptions() == theirs->getOptions() &&
        mine->covers(*theirs))
      continue;
    if (Error error = mine->merge(std::move(*theirs)))
      return userError("'" + from + "' does not go with '" + to + "': " + toString(std::move(error)));
    if (Error error = write(to, *mine))
      return error;
  }
  return Error::success();
}

} // namespace quanta
