//===- ModuleMemory.h - Weights and caches as arrays of the module ---------------------------------------------*- C++ -*-===//
#ifndef QUANTA_LIB_CODEGEN_MODULEMEMORY_H
#define QUANTA_LIB_CODEGEN_MODULEMEMORY_H

#include "Kernels/Cache.h"

namespace mlir::quanta {

/// What a kernel needs of a constant weight: addresses and how they are read.
struct StoredWeight {
  SmallVector<Value> addresses;
  NamedAttrList config;
};

/// Moves constants out of the function, one symbol for each distinct component.
class WeightStore {
public:
  explicit WeightStore(ModuleOp module) : module(module), symbols(module) {}

  /// The attribute behind a constant tensor, null otherwise.
  static Attribute getConstant(Value value);

  /// Address of one array: `type` is its stored form, `layout` how emission packs it: as `component` of a value of this
  /// `shape`.
  Value store(OpBuilder &b, Location loc, StringRef hint, Attribute value, MemRefType type, Attribute layout, StringRef component,
              ArrayRef<int64_t> shape);

  /// A weight matrix in tiles of rows. An error at `user`: it is no constant of f32, or no kernel can decode it.
  FailureOr<StoredWeight> storeTiles(OpBuilder &b, Operation *user, Value weight);

  /// The name of a weight's component: its node's, with the component's behind it if there are several.
  static std::string nameOf(Value weight, StringRef component);

private:
  ModuleOp module;
  SymbolTable symbols;
  DenseMap<Attribute, WeightsOp> stored;
};

/// Gives caches their memory. How it lies depends on what attention reads: keys or values.
class CacheStore {
public:
  explicit CacheStore(ModuleOp module) : module(module), symbols(module) {}

  CacheOp lookup(FlatSymbolRefAttr name) const { return symbols.lookup<CacheOp>(name.getValue()); }

  /// Finds out which caches are keys: attention names them.
  LogicalResult assignRoles();

  CacheRole getRole(FlatSymbolRefAttr name) const { return roles.lookup_or(name.getAttr(), CacheRole::Value); }

  /// Addresses of a cache's arrays.
  SmallVector<Value> getMemory(OpBuilder &b, Location loc, FlatSymbolRefAttr name);

  /// The caches themselves are not needed any more.
  void eraseCaches();

private:
  ModuleOp module;
  SymbolTable symbols;
  DenseMap<StringAttr, CacheRole> roles;
  DenseMap<StringAttr, SmallVector<StatesOp>> stored;
};

} // namespace mlir::quanta

#endif // QUANTA_LIB_CODEGEN_MODULEMEMORY_H
