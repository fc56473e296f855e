//===- LatencyRows.cpp - What quant-bench has measured ----------------------------------------------------------===//
#include "quanta/Support/LatencyRows.h"
#include "quanta/Support/Error.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <algorithm>
#include <optional>

using llvm::StringRef;

namespace quanta {

/// A document, or one a line.
static llvm::Expected<std::vector<llvm::json::Value>> parseDocuments(StringRef text) {
  std::vector<llvm::json::Value> documents;
  auto whole = llvm::json::parse(text);
  if (whole) {
    documents.push_back(std::move(*whole));
    return documents;
  }
  llvm::Error problem = whole.takeError();
  for (StringRef line : llvm::split(text.rtrim(), '\n')) {
    auto one = llvm::json::parse(line);
    if (!one) {
      consumeError(one.takeError());
      return std::move(problem);
    }
    documents.push_back(std::move(*one));
  }
  consumeError(std::move(problem));
  return documents;
}

static std::optional<LatencyRow> readRow(const llvm::json::Value &value) {
  auto *row = value.getAsObject();
  auto *shape = row ? row->getArray("shape") : nullptr;
  if (!shape || shape->size() != 3)
    return std::nullopt;
  LatencyRow result;
  for (size_t i : {0, 1, 2})
    result.shape[i] = (*shape)[i].getAsInteger().value_or(0);
  auto encoding = row->getString("encoding"), activation = row->getString("activation");
  auto threads = row->getInteger("threads");
  result.ns = row->getNumber("ns").value_or(0);
  if (*std::min_element(result.shape.begin(), result.shape.end()) < 1 || !encoding || !activation || !threads || !(result.ns > 0))
    return std::nullopt;
  result.encoding = *encoding == "f32" ? std::string() : encoding->str();
  result.activation = activation->str();
  result.threads = *threads;
  return result;
}

llvm::Expected<std::vector<LatencyRow>> readLatencyRows(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return userError("cost table '" + path + "' cannot be read: " + buffer.getError().message());
  auto documents = parseDocuments((*buffer)->getBuffer());
  if (!documents)
    return userError("cost table '" + path + "': " + llvm::toString(documents.takeError()));
  std::vector<LatencyRow> result;
  for (const llvm::json::Value &document : *documents) {
    auto *object = document.getAsObject();
    auto *rows = object ? object->getArray("rows") : nullptr;
    if (!rows)
      return userError("cost table '" + path + "' has no rows; write it with quant-bench --layers=REPORT.json --json");
    for (const llvm::json::Value &value : *rows) {
      std::optional<LatencyRow> row = readRow(value);
      if (!row)
        return userError("cost table '" + path + "' has a row without shape, encoding, activation, threads or ns");
      result.push_back(std::move(*row));
    }
  }
  return result;
}

} // namespace quanta
