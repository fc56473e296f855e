//===- CacheLayers.cpp - Which layer reads which cache --------------------------------------------------------------------===//
#include "CacheLayers.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace mlir::quanta;

/// The attentions that read it, perhaps rotated.
static SmallVector<Operation *> getAttentions(CacheReadOp read) {
  SmallVector<Operation *> attentions;
  for (Operation *user : read->getUsers())
    if (isa<AttentionOp>(user))
      attentions.push_back(user);
    else
      llvm::append_range(attentions, user->getUsers());
  return attentions;
}

FailureOr<CacheLayers> CacheLayers::find(ModuleOp module) {
  CacheLayers result;
  DenseMap<Operation *, size_t> numbers;
  WalkResult walked = module.walk([&](CacheReadOp read) {
    StringAttr name = read.getCacheAttr().getAttr();
    FailureOr<std::optional<CacheRole>> role = read.getRole();
    if (failed(role) || (*role && result.roles.try_emplace(name, **role).first->second != **role)) {
      read.emitOpError("expected only attention to read a cache, as keys, as values or as angles of keys");
      return WalkResult::interrupt();
    }
    result.reads[name].push_back(read);
    for (Operation *attention : getAttentions(read)) {
      size_t layer = numbers.try_emplace(attention, numbers.size()).first->second;
      size_t &first = result.layers.try_emplace(name, layer).first->second;
      first = std::min(first, layer);
    }
    return WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();
  result.count = numbers.size();
  return result;
}
