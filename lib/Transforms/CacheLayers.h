//===- CacheLayers.h - Which layer reads which cache ----------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_TRANSFORMS_CACHELAYERS_H
#define QUANTA_LIB_TRANSFORMS_CACHELAYERS_H

#include "quanta/Dialect/IR/Quanta.h"

namespace mlir::quanta {

/// The caches of a module by the attentions that read them, which are its layers, in the order in which they first read.
struct CacheLayers {
  /// Errors: a cache that others read, or that is read for several purposes.
  static FailureOr<CacheLayers> find(ModuleOp module);

  /// The first layer that reads this cache; 0 if none does.
  size_t getLayer(CacheOp cache) const { return layers.lookup(cache.getSymNameAttr()); }
  /// What it is read for; nothing if it is not.
  std::optional<CacheRole> getRole(CacheOp cache) const {
    auto role = roles.find(cache.getSymNameAttr());
    return role == roles.end() ? std::nullopt : std::optional(role->second);
  }
  ArrayRef<CacheReadOp> getReads(CacheOp cache) const {
    auto found = reads.find(cache.getSymNameAttr());
    return found == reads.end() ? ArrayRef<CacheReadOp>() : ArrayRef<CacheReadOp>(found->second);
  }

  size_t count = 0; ///< layers

private:
  DenseMap<StringAttr, size_t> layers;
  DenseMap<StringAttr, CacheRole> roles;
  DenseMap<StringAttr, SmallVector<CacheReadOp>> reads;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_TRANSFORMS_CACHELAYERS_H
