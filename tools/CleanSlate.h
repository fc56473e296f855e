//===- CleanSlate.h - Command lines beside libLLVM's options -------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TOOLS_CLEANSLATE_H
#define QUANTA_TOOLS_CLEANSLATE_H

#include "llvm/Support/CommandLine.h"
#include <vector>

/// libLLVM registers hundreds of options of its own, some under our names. They must go before ours are made: a base class of what holds
/// a tool's options.
struct CleanSlate {
  CleanSlate() {
    std::vector<llvm::cl::Option *> others;
    for (auto &entry : llvm::cl::getRegisteredOptions())
      if (!entry.first.starts_with("help") && entry.first != "version")
        others.push_back(entry.second);
    for (llvm::cl::Option *option : others)
      option->removeArgument();
  }
};

#endif // QUANTA_TOOLS_CLEANSLATE_H
