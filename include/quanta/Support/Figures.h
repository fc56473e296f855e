//===- Figures.h - Numbers for people -----------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_FIGURES_H
#define QUANTA_SUPPORT_FIGURES_H

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <string>

namespace quanta {

/// Four significant digits.
inline std::string printFigure(double value) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.4g", value);
  return text;
}

} // namespace quanta

#endif // QUANTA_SUPPORT_FIGURES_H
