//===- CompiledModel.h - Running a compiled model on arrays ---------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_COMPILEDMODEL_H
#define QUANTA_SUPPORT_COMPILEDMODEL_H

#include "quanta/Runtime/quanta.h"
#include "quanta/Support/Npy.h"
#include <optional>

namespace quanta {

struct Port {
  std::string name;
  quanta_type type;
  std::vector<int64_t> shape; ///< -1 = any size
  /// "?x48xi64"
  std::string describe() const;
};

/// The type that compiled models call "f32", "i64", "bool" ...
std::optional<quanta_type> findPortType(llvm::StringRef name);

/// The shared library of a model, loaded, with one instance. Arrays of bf16 ports are f32 here.
class CompiledModel {
public:
  struct Options {
    int threads = 0; ///< as quanta_options
    bool pin = false;
    std::string weightsFile;
    /// For a model that is compiled first: more arguments of quantc.
    std::vector<std::string> compileFlags;
  };

  /// `path` is a shared library made by quantc, or a model file, which is compiled to a temporary library first.
  static llvm::Expected<std::unique_ptr<CompiledModel>> load(llvm::StringRef path, const Options &options);
  ~CompiledModel();
  CompiledModel(const CompiledModel &) = delete;
  CompiledModel &operator=(const CompiledModel &) = delete;

  llvm::StringRef getName() const { return info->name; }
  llvm::StringRef getTarget() const { return info->target ? info->target : ""; }
  llvm::StringRef getRecipe() const { return info->recipe ? info->recipe : ""; }
  /// Of the key/value cache that the model keeps: positions, and bytes an instance. 0 without one.
  int64_t getCacheCapacity() const { return info->cache_capacity; }
  int64_t getCacheBytes() const { return info->cache_bytes; }
  llvm::ArrayRef<Port> getInputs() const { return inputs; }
  llvm::ArrayRef<Port> getOutputs() const { return outputs; }
  /// Names of ports, as groupCases takes them.
  static std::vector<std::string> getNames(llvm::ArrayRef<Port> ports);

  /// Runs on arrays by input name; element types are converted as by Array::convertTo. Returns arrays by output name that
  /// stay valid. `seconds` gets the time of the model's own run function, without conversions and copies.
  llvm::Expected<ArrayMap> run(const ArrayMap &arrays, double *seconds = nullptr);
  llvm::Error reset();

private:
  CompiledModel() = default;
  llvm::Error open(llvm::StringRef path, const Options &options);

  void *library = nullptr;
  const quanta_api *api = nullptr;
  const quanta_model_info *info = nullptr;
  void *model = nullptr;
  std::vector<Port> inputs, outputs;
};

/// Runs the quantc that lies beside the running tool on `model` and returns the path of a new shared library, which the
/// caller removes. quantc's own messages go to standard error.
llvm::Expected<std::string> compileToTemporaryLibrary(llvm::StringRef model, llvm::ArrayRef<std::string> flags);

} // namespace quanta

#endif // QUANTA_SUPPORT_COMPILEDMODEL_H
