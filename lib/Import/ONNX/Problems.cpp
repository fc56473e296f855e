//===- Problems.cpp - What is wrong with a model, all of it at once -----------------------------------------------===//
#include "quanta/Import/ONNX/Problems.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::quanta;
using llvm::StringRef;

void Problems::add(Index &index, std::vector<Group> &groups, StringRef kind, const llvm::Twine &subject, StringRef unit,
                   const llvm::Twine &name) {
  std::string text = subject.str(), key = kind.str() + '\0' + text + '\0' + unit.str();
  auto [entry, isNew] = index.try_emplace(key, groups.size());
  if (isNew)
    groups.push_back({kind.str(), std::move(text), unit.str(), {}});
  std::string shown = name.str();
  if (!shown.empty())
    groups[entry->second].names.push_back(std::move(shown));
}

static std::string counted(size_t count, StringRef unit) {
  return (llvm::Twine(count) + " " + unit + (count == 1 ? "" : "s")).str();
}

/// Names come from the file: no control characters on a terminal, no line of megabytes.
static std::string printable(StringRef text) {
  std::string result;
  llvm::raw_string_ostream os(result);
  for (unsigned char c : text.take_front(200))
    if (c >= 0x20 && c != 0x7f)
      os << c;
    else
      os << "\\x" << llvm::hexdigit(c >> 4, true) << llvm::hexdigit(c & 15, true);
  if (text.size() > 200)
    os << "...";
  return result;
}

static void printGroups(llvm::raw_ostream &os, llvm::ArrayRef<Problems::Group> groups) {
  size_t kindWidth = 0;
  for (const auto &group : groups)
    kindWidth = std::max(kindWidth, group.kind.size());
  for (const auto &group : groups) {
    std::string line =
        "  " + group.kind + std::string(kindWidth - group.kind.size() + 2, ' ') + printable(group.subject);
    if (!group.unit.empty()) {
      std::string count = counted(group.names.size(), group.unit);
      size_t width = std::max<size_t>(line.size() + 2 + count.size(), 88);
      line += std::string(width - line.size() - count.size(), ' ') + count;
    }
    os << line << '\n';
    if (group.names.empty())
      continue;
    os << "      ";
    llvm::interleaveComma(llvm::ArrayRef(group.names).take_front(3), os,
                          [&](const std::string &name) { os << printable(name); });
    if (group.names.size() > 3)
      os << ", ... " << group.names.size() - 3 << " more";
    os << '\n';
  }
}

static size_t countKinds(llvm::ArrayRef<Problems::Group> groups) {
  llvm::StringSet<> kinds;
  for (const auto &group : groups)
    kinds.insert(group.kind);
  return kinds.size();
}

void Problems::print(llvm::raw_ostream &os) const {
  if (!warnings.empty()) {
    os << model << ": warning: " << counted(countKinds(warnings), "kind") << " of warning\n";
    printGroups(os, warnings);
  }
  if (errors.empty())
    return;
  llvm::StringSet<> nodes;
  for (const Group &group : errors)
    if (group.unit == "node")
      for (const std::string &name : group.names)
        nodes.insert(name);
  os << model << ": error: cannot import: " << counted(countKinds(errors), "kind") << " of problem";
  if (!nodes.empty())
    os << " in " << nodes.size() << " of " << counted(nodeCount, "node");
  os << '\n';
  printGroups(os, errors);
  if (!opset.empty())
    os << "note: model: opset " << printable(opset) << (producer.empty() ? "" : ", producer ") << printable(producer)
       << "; full list: --import-report=FILE.json\n";
}

llvm::json::Value Problems::toJSON() const {
  auto text = [](StringRef s) { return llvm::json::isUTF8(s) ? s.str() : llvm::json::fixUTF8(s); };
  auto list = [&](llvm::ArrayRef<Group> groups) {
    llvm::json::Array result;
    for (const Group &group : groups) {
      llvm::json::Array names;
      for (const std::string &name : group.names)
        names.push_back(text(name));
      result.push_back(llvm::json::Object{
          {"kind", group.kind}, {"subject", text(group.subject)}, {"unit", group.unit}, {"names", std::move(names)}});
    }
    return result;
  };
  return llvm::json::Object{{"model", text(model)},        {"opset", text(opset)},   {"producer", text(producer)},
                            {"nodes", int64_t(nodeCount)}, {"errors", list(errors)}, {"warnings", list(warnings)}};
}
