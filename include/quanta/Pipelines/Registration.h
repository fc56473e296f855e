//===- Registration.h - Everything that Quanta's tools know ---------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_REGISTRATION_H
#define QUANTA_PIPELINES_REGISTRATION_H

namespace mlir {
class DialectRegistry;
}

namespace mlir::quanta {

/// Upstream's dialects and extensions, Quanta's dialects and their external models.
void registerDialects(DialectRegistry &registry);

/// Upstream's passes and Quanta's, by name. May be called more than once.
void registerPasses();

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_REGISTRATION_H
