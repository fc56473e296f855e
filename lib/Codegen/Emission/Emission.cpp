//===- Emission.cpp - From a module in the LLVM dialect to files --------------------------------------------------------===//
#include "quanta/Codegen/Emission.h"
#include "quanta/Codegen/Header.h"
#include "quanta/Codegen/Link.h"
#include "quanta/Codegen/ObjectWriter.h"
#include "quanta/Dialect/IR/Quanta.h"
#include "quanta/Support/Error.h"
#include "../../Runtime/quanta_rt.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Target/LLVMIR/LLVMTranslationInterface.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

//===- Translation --------------------------------------------------------------------------------------------------------===//

namespace {
/// Weights are not code: the section writer takes them.
struct QuantaTranslation : public LLVMTranslationDialectInterface {
  using LLVMTranslationDialectInterface::LLVMTranslationDialectInterface;
  LogicalResult convertOperation(Operation *op, llvm::IRBuilderBase &, LLVM::ModuleTranslation &) const final {
    return success(isa<WeightsOp>(op));
  }
};
} // namespace

void mlir::quanta::registerEmissionTranslations(DialectRegistry &registry) {
  registerAllToLLVMIRTranslations(registry);
  registry.addExtension(
      +[](MLIRContext *, QuantaDialect *dialect) { dialect->addInterfaces<QuantaTranslation>(); });
}

//===- The target ---------------------------------------------------------------------------------------------------------===//

static std::unique_ptr<llvm::TargetMachine> createTargetMachine(const ::quanta::Target &target, unsigned optLevel) {
  llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(triple, error);
  llvm::TargetOptions options;
  options.MCOptions.AsmVerbose = true;
  return std::unique_ptr<llvm::TargetMachine>(
      found->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_, std::nullopt,
                                 static_cast<llvm::CodeGenOptLevel>(std::min(optLevel, 3u))));
}

//===- The description of the model ---------------------------------------------------------------------------------------===//

llvm::Error mlir::quanta::checkModelName(StringRef name) {
  bool valid = !name.empty() && !llvm::isDigit(name.front()) &&
               llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  if (!valid)
    return userError("'" + name + "' cannot be the prefix of C functions: give --name letters, digits and underscores");
  if (name.starts_with("quanta") || name.starts_with("_"))
    return userError("'" + name + "' is reserved: give --name a name that does not begin with 'quanta' or '_'");
  return llvm::Error::success();
}

namespace {
/// Builds the tables of lib/Runtime/quanta_rt.h and the exported functions.
class InterfaceBuilder {
public:
  InterfaceBuilder(llvm::Module &module, const ModelDescription &model, StringRef name)
      : module(module), context(module.getContext()), model(model), name(name), i32(llvm::Type::getInt32Ty(context)),
        i64(llvm::Type::getInt64Ty(context)), ptr(llvm::PointerType::getUnqual(context)) {
    portType = structType({ptr, i32, i32, llvm::ArrayType::get(i64, QUANTA_MAX_RANK)});
    infoType = structType({ptr, ptr, ptr, i32, i32, ptr, ptr, i64, i64});
    codeType = structType({i64, ptr});
    descType = structType({i32, infoType, ptr, ptr, i32, ptr, i32, ptr, i64, i64});
    assert(sizeOf(portType) == sizeof(quanta_port) && sizeOf(codeType) == sizeof(quanta_rt_code) && sizeOf(infoType) == sizeof(quanta_model_info) &&
           sizeOf(descType) == sizeof(quanta_rt_desc) && "the interface of the runtime has changed");
  }

  /// Declares the entry of the code for a target. Best first.
  void addCode(const ::quanta::Target &target) {
    auto *entry = llvm::Function::Create(llvm::FunctionType::get(i32, {ptr}, false), llvm::GlobalValue::ExternalLinkage,
                                         getEntryName(codes.size()), module);
    auto *features = llvm::ConstantInt::get(i64, target.getCheckedFeatures());
    codes.push_back(llvm::ConstantStruct::get(codeType, {features, entry}));
  }
  static std::string getEntryName(size_t index) { return "quanta_entry." + std::to_string(index); }

  /// `weights` is null if they are in a file.
  void build(StringRef target, llvm::Constant *weights, uint64_t weightsBytes,
             uint64_t weightsHash) {
    llvm::Constant *info = llvm::ConstantStruct::get(
        infoType, {text(name), text(target), text(model.recipe), number(model.inputs.size()),
                   number(model.outputs.size()), ports(model.inputs, "inputs"), ports(model.outputs, "outputs"),
                   llvm::ConstantInt::get(i64, model.cacheCapacity), llvm::ConstantInt::get(i64, model.cacheBytes)});
    llvm::Constant *desc = global(
        "desc", llvm::ConstantStruct::get(
                    descType, {number(QUANTA_ABI), info, inputSymbols(), symbols(), number(model.symbols.size()),
                               array("code", codeType, codes), number(codes.size()),
                               weights ? weights : llvm::ConstantPointerNull::get(ptr),
                               llvm::ConstantInt::get(i64, weightsBytes), llvm::ConstantInt::get(i64, weightsHash)}));
    llvm::Constant *publicInfo = global("info", info);

    llvm::Function *create = forward("create", i32, {ptr, ptr}, {desc});
    llvm::Function *run = forward("run", i32, {ptr, ptr, ptr});
    llvm::Function *reset = forward("reset", i32, {ptr});
    llvm::Function *destroy = forward("destroy", llvm::Type::getVoidTy(context), {ptr});
    llvm::Function *lastError = forward("last_error", ptr, {ptr});
    llvm::Function *getInfo = function("info", ptr, {});
    llvm::IRBuilder<>(llvm::BasicBlock::Create(context, "", getInfo)).CreateRet(publicInfo);

    auto *apiType = structType({i32, ptr, ptr, ptr, ptr, ptr, ptr});
    auto *api = new llvm::GlobalVariable(
        module, apiType, /*isConstant=*/true, llvm::GlobalValue::WeakAnyLinkage,
        llvm::ConstantStruct::get(apiType, {number(QUANTA_ABI), create, run, reset, destroy, getInfo, lastError}),
        "quanta_api_table");
    exported.insert(api->getName());
  }

  /// What the object may show.
  llvm::StringSet<> exported;

private:
  llvm::StructType *structType(ArrayRef<llvm::Type *> fields) { return llvm::StructType::get(context, fields); }
  uint64_t sizeOf(llvm::Type *type) { return module.getDataLayout().getTypeAllocSize(type); }
  llvm::Constant *number(int64_t value) { return llvm::ConstantInt::getSigned(i32, value); }

  llvm::Constant *global(StringRef label, llvm::Constant *value) {
    return new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true, llvm::GlobalValue::InternalLinkage,
                                    value, name + "." + label);
  }
  llvm::Constant *text(StringRef value) { return global("text", llvm::ConstantDataArray::getString(context, value)); }
  llvm::Constant *array(StringRef label, llvm::Type *type, ArrayRef<llvm::Constant *> values) {
    if (values.empty())
      return llvm::ConstantPointerNull::get(ptr);
    return global(label, llvm::ConstantArray::get(llvm::ArrayType::get(type, values.size()), values));
  }

  llvm::Constant *ports(ArrayRef<ModelDescription::Port> ports, StringRef label) {
    SmallVector<llvm::Constant *> values;
    for (auto &port : ports) {
      SmallVector<uint64_t> shape(port.shape.begin(), port.shape.end());
      shape.resize(QUANTA_MAX_RANK);
      values.push_back(llvm::ConstantStruct::get(
          portType, {text(port.name), number(port.typeCode), number(port.shape.size()),
                     llvm::ConstantDataArray::get(context, ArrayRef<uint64_t>(shape))}));
    }
    return array(label, portType, values);
  }

  llvm::Constant *inputSymbols() {
    SmallVector<llvm::Constant *> values;
    for (auto &port : model.inputs)
      for (size_t d = 0; d < QUANTA_MAX_RANK; ++d)
        values.push_back(number(d < port.symbols.size() ? port.symbols[d] : -1));
    return array("input_symbols", i32, values);
  }

  llvm::Constant *symbols() {
    SmallVector<llvm::Constant *> values;
    for (auto &symbol : model.symbols)
      values.push_back(text(symbol));
    return array("symbols", ptr, values);
  }

  llvm::Function *function(StringRef suffix, llvm::Type *result, ArrayRef<llvm::Type *> parameters) {
    auto *function = llvm::Function::Create(llvm::FunctionType::get(result, parameters, false),
                                            llvm::GlobalValue::ExternalLinkage, name + "_" + suffix, module);
    exported.insert(function->getName());
    return function;
  }

  /// NAME_suffix(args…) { return quanta_rt_suffix(leading…, args…); }
  llvm::Function *forward(StringRef suffix, llvm::Type *result, ArrayRef<llvm::Type *> parameters,
                          ArrayRef<llvm::Value *> leading = {}) {
    SmallVector<llvm::Type *> types;
    for (llvm::Value *value : leading)
      types.push_back(value->getType());
    types.append(parameters.begin(), parameters.end());
    llvm::FunctionCallee callee =
        module.getOrInsertFunction(("quanta_rt_" + suffix).str(), llvm::FunctionType::get(result, types, false));
    llvm::Function *caller = function(suffix, result, parameters);
    llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", caller));
    SmallVector<llvm::Value *> arguments(leading);
    for (llvm::Argument &argument : caller->args())
      arguments.push_back(&argument);
    llvm::Value *value = builder.CreateCall(callee, arguments);
    result->isVoidTy() ? builder.CreateRetVoid() : builder.CreateRet(value);
    return caller;
  }

  llvm::Module &module;
  llvm::LLVMContext &context;
  const ModelDescription &model;
  StringRef name;
  llvm::Type *i32, *i64;
  llvm::PointerType *ptr;
  llvm::StructType *portType, *infoType, *codeType, *descType;
  SmallVector<llvm::Constant *> codes;
};
} // namespace

//===- The module of code -------------------------------------------------------------------------------------------------===//

static void prepare(llvm::Module &code, StringRef name, const llvm::TargetMachine &machine) {
  code.setSourceFileName(name);
  code.setTargetTriple(machine.getTargetTriple());
  code.setDataLayout(machine.createDataLayout());
  code.setPICLevel(llvm::PICLevel::BigPIC);
}

static llvm::Error linkBitcode(llvm::Module &module, const ::quanta::EmbeddedFile &bitcode, StringRef what) {
  llvm::MemoryBufferRef buffer(StringRef(reinterpret_cast<const char *>(bitcode.data), bitcode.size), what);
  auto part = llvm::parseBitcodeFile(buffer, module.getContext());
  if (!part)
    return part.takeError();
  (*part)->setTargetTriple(module.getTargetTriple());
  (*part)->setDataLayout(module.getDataLayout());
  if (llvm::Linker::linkModules(module, std::move(*part)))
    return userError("internal error: the " + what + " does not link with the model's code");
  return llvm::Error::success();
}

static void internalize(llvm::GlobalValue &value) {
  if (value.isDeclaration() || value.hasLocalLinkage())
    return;
  value.setVisibility(llvm::GlobalValue::DefaultVisibility);
  value.setLinkage(llvm::GlobalValue::InternalLinkage);
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine, unsigned optLevel) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.SLPVectorization = tuning.LoopInterleaving = optLevel >= 2;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  const llvm::OptimizationLevel levels[] = {llvm::OptimizationLevel::O0, llvm::OptimizationLevel::O1,
                                            llvm::OptimizationLevel::O2, llvm::OptimizationLevel::O3};
  llvm::ModulePassManager passes = optLevel == 0
                                       ? builder.buildO0DefaultPipeline(levels[0])
                                       : builder.buildPerModuleDefaultPipeline(levels[std::min(optLevel, 3u)]);
  passes.run(module, modules);
}

/// The longest vectors of SVE.
static constexpr unsigned kMostScalableBits = 2048;

static void setFunctionAttributes(llvm::Module &module, const ::quanta::Target &target) {
  bool wide = target.getLevel().vectorBits == 512;
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.cpu);
    function.removeFnAttr("tune-cpu");
    if (target.features.empty())
      function.removeFnAttr("target-features");
    else
      function.addFnAttr("target-features", target.features);
    if (wide)
      function.addFnAttr("prefer-vector-width", "512");
    // Vectors of up to so many bits are one register each; instructions are told which of its lanes they are.
    if (target.scalableBits)
      function.addFnAttr(llvm::Attribute::getWithVScaleRangeArgs(function.getContext(), target.scalableBits / 128, kMostScalableBits / 128));
    // Nothing unwinds through a model, but debuggers and profilers walk its frames.
    function.setUWTableKind(llvm::UWTableKind::Async);
  }
}

/// Hides from LLVM that sizes of AMX's tiles are constants. It configures tiles with what each definition of a size's register leaves in it
/// (X86TileConfig), and gives a loop's counter that begins with an equal constant the same register: tiles would get its values as sizes.
static void hideTileSizes(llvm::Function &function) {
  llvm::DenseMap<llvm::Value *, llvm::Value *> hidden;
  auto hide = [&](llvm::Value *size) {
    llvm::Value *&value = hidden[size];
    if (!value) {
      auto *type = llvm::FunctionType::get(size->getType(), {size->getType()}, /*isVarArg=*/false);
      auto *identity = llvm::InlineAsm::get(type, "", "=r,0", /*hasSideEffects=*/true);
      value = llvm::CallInst::Create(type, identity, {size}, "tile.size", function.getEntryBlock().getFirstNonPHIOrDbgOrAlloca());
    }
    return value;
  };
  for (llvm::Instruction &instruction : llvm::instructions(function)) {
    auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
    StringRef name = call ? call->getCalledFunction()->getName() : "";
    if (name.starts_with("llvm.x86.t") && name.ends_with(".internal"))
      for (llvm::Use &operand : call->args())
        if (operand->getType()->isIntegerTy(16) && llvm::isa<llvm::Constant>(operand))
          operand = hide(operand);
  }
}

/// Adds a model's code for one target; its entry gets the name `entryName`.
static llvm::Error linkModel(llvm::Module &code, ModuleOp module, const llvm::TargetMachine &machine,
                             const ::quanta::Target &target, StringRef entryName) {
  std::unique_ptr<llvm::Module> part = translateModuleToLLVMIR(module, code.getContext(), entryName);
  if (!part)
    return userError("internal error: the module cannot be translated to LLVM IR");
  prepare(*part, code.getSourceFileName(), machine);
  // The names of the model's functions are its own.
  llvm::Function *entry = part->getFunction("quanta_entry");
  if (!entry || entry->isDeclaration())
    return userError("internal error: the module has no function 'quanta_entry'");
  for (llvm::GlobalValue &value : part->global_values())
    if (&value != entry)
      internalize(value);
  entry->setName(entryName);
  setFunctionAttributes(*part, target);
  for (llvm::Function &function : *part)
    if (!function.isDeclaration())
      hideTileSizes(function);
  if (llvm::Linker::linkModules(code, std::move(part)))
    return userError("internal error: the model's code does not link with the support runtime");
  return llvm::Error::success();
}

/// Code finds weights by their offsets, so every module must have the same.
static llvm::Error checkSameWeights(ArrayRef<ModuleOp> modules) {
  auto describe = [](WeightsOp op) { return op->getAttrDictionary(); };
  ModuleOp first = modules.front();
  for (ModuleOp other : modules.drop_front())
    if (!llvm::equal(llvm::map_range(first.getOps<WeightsOp>(), describe),
                     llvm::map_range(other.getOps<WeightsOp>(), describe)))
      return userError("internal error: the modules for different CPUs have different weights");
  return llvm::Error::success();
}

static llvm::Error writeCode(llvm::Module &module, llvm::TargetMachine &machine, const EmissionOptions &options,
                             StringRef path) {
  optimize(module, machine, options.optLevel);
  EmitKind kind = options.kind;
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (ec)
    return userError("cannot write '" + path + "': " + ec.message());
  if (kind == EmitKind::LLVMIR) {
    module.print(os, nullptr);
  } else {
    llvm::legacy::PassManager passes;
    auto type = kind == EmitKind::Assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
    if (machine.addPassesToEmitFile(passes, os, nullptr, type))
      return userError("internal error: the target '" + machine.getTargetTriple().str() + "' cannot write objects");
    passes.run(module);
  }
  os.close();
  if (!os.has_error())
    return llvm::Error::success();
  ec = os.error();
  os.clear_error();
  return userError("cannot write '" + path + "': " + ec.message());
}

/// Looks for the object of this code in the cache, and puts it there.
static llvm::Error writeCachedObject(llvm::Module &module, llvm::TargetMachine &machine, const EmissionOptions &options,
                                     StringRef path) {
  llvm::SmallVector<char> bitcode;
  llvm::raw_svector_ostream stream(bitcode);
  llvm::WriteBitcodeToFile(module, stream);
  std::string &object = (*options.cache)[llvm::SHA256::hash(llvm::arrayRefFromStringRef(stream.str()))];
  if (object.empty()) {
    if (llvm::Error error = writeCode(module, machine, options, path))
      return error;
    auto written = llvm::MemoryBuffer::getFile(path);
    if (!written)
      return userError("cannot read '" + path + "': " + written.getError().message());
    object = (*written)->getBuffer().str();
    return llvm::Error::success();
  }
  return llvm::writeToOutput(path, [&](llvm::raw_ostream &os) {
    os << object;
    return llvm::Error::success();
  });
}

//===- Files --------------------------------------------------------------------------------------------------------------===//

namespace {
/// A folder beside the output, on the same file system, so that results appear by renaming. Gone at the end.
class WorkFolder {
public:
  static llvm::Expected<std::unique_ptr<WorkFolder>> create(StringRef output) {
    SmallString<128> path(llvm::sys::path::parent_path(output));
    llvm::sys::path::append(path, "." + llvm::sys::path::filename(output) + "-%%%%%%%%.tmp");
    for (int attempt = 0;; ++attempt) {
      SmallString<128> unique;
      llvm::sys::fs::createUniquePath(path, unique, /*MakeAbsolute=*/false);
      std::error_code ec = llvm::sys::fs::create_directory(unique, /*IgnoreExisting=*/false);
      if (!ec)
        return std::unique_ptr<WorkFolder>(new WorkFolder(unique));
      if (ec != std::errc::file_exists || attempt == 16)
        return userError("cannot write '" + output + "': " + ec.message());
    }
  }
  ~WorkFolder() { llvm::sys::fs::remove_directories(folder); }

  std::string file(StringRef name) const {
    SmallString<128> path(folder);
    llvm::sys::path::append(path, name);
    return path.str().str();
  }
  StringRef path() const { return folder; }

private:
  explicit WorkFolder(StringRef folder) : folder(folder) {}
  std::string folder;
};

/// Hashes what goes through.
class HashingStream : public llvm::raw_ostream {
public:
  explicit HashingStream(llvm::raw_ostream &os) : raw_ostream(/*unbuffered=*/false), os(os) { SetBufferSize(1 << 20); }
  ~HashingStream() override { flush(); }
  uint64_t hash = 0;

private:
  void write_impl(const char *data, size_t size) override {
    os.write(data, size);
    position += size;
    // One hash for each call: where the stream is cut depends on its contents alone.
    uint64_t parts[] = {hash, llvm::xxh3_64bits(ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(data), size))};
    hash = llvm::xxh3_64bits(ArrayRef<uint8_t>(reinterpret_cast<const uint8_t *>(parts), sizeof parts));
  }
  uint64_t current_pos() const override { return position; }

  llvm::raw_ostream &os;
  uint64_t position = 0;
};
} // namespace

static llvm::Error publish(StringRef from, StringRef to) {
  if (std::error_code ec = llvm::sys::fs::rename(from, to))
    return userError("cannot write '" + to + "': " + ec.message());
  return llvm::Error::success();
}

/// Returns the hash by which the runtime recognises the file.
static llvm::Expected<uint64_t> writeWeightsFile(ModuleOp module, StringRef path) {
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (ec)
    return userError("cannot write '" + path + "': " + ec.message());
  HashingStream hashing(os);
  if (llvm::Error error = writeWeights(module, hashing))
    return error;
  hashing.flush();
  quanta_weights_trailer trailer;
  memcpy(trailer.magic, QUANTA_WEIGHTS_MAGIC, sizeof trailer.magic);
  trailer.hash = hashing.hash;
  os.write(reinterpret_cast<const char *>(&trailer), sizeof trailer);
  os.close();
  if (!os.has_error())
    return trailer.hash;
  ec = os.error();
  os.clear_error();
  return userError("cannot write '" + path + "': " + ec.message());
}

//===- All of it ----------------------------------------------------------------------------------------------------------===//

static llvm::Error emitHeader(const ModelDescription &model, StringRef name, StringRef path) {
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (ec)
    return userError("cannot write '" + path + "': " + ec.message());
  os << getModelHeader(model, name);
  return llvm::Error::success();
}

static llvm::Error link(EmitKind kind, ArrayRef<std::string> objects, StringRef name, const ::quanta::Target &target,
                        StringRef folder, StringRef output) {
  switch (kind) {
  case EmitKind::Library:
    return linkShared(objects, name, target, folder, output);
  case EmitKind::Executable:
    return linkExecutable(objects, target, output);
  default:
    return linkRelocatable(objects, output);
  }
}

llvm::Expected<EmissionResult> mlir::quanta::emitModel(ArrayRef<ModuleOp> modules, const EmissionOptions &options) {
  ModuleOp module = modules.front();
  StringRef name = options.name;
  if (llvm::Error error = checkModelName(name))
    return error;
  auto model = ModelDescription::get(module->getAttrOfType<DictionaryAttr>("quanta.model"));
  if (!model)
    return model.takeError();
  auto work = WorkFolder::create(options.output);
  if (!work)
    return work.takeError();

  EmissionResult result;
  std::string product = (*work)->file("product");
  auto finish = [&]() -> llvm::Expected<EmissionResult> {
    if (std::error_code ec = llvm::sys::fs::file_size(product, result.outputBytes))
      return userError("cannot write '" + options.output + "': " + ec.message());
    if (llvm::Error error = publish(product, options.output))
      return error;
    return result;
  };
  if (options.kind == EmitKind::Header) {
    if (llvm::Error error = emitHeader(*model, name, product))
      return error;
    return finish();
  }

  auto targets = ::quanta::Target::resolveAll(options.triple, options.cpus);
  if (!targets)
    return targets.takeError();
  if (targets->size() != modules.size())
    return userError("internal error: " + std::to_string(modules.size()) + " modules for " +
                     std::to_string(targets->size()) + " CPUs");
  if (llvm::Error error = checkSameWeights(modules))
    return error;
  // The support runtime looks at the CPU before the model's code may run, so it is for the oldest one.
  const ::quanta::Target common = targets->front().getBaseline();
  std::unique_ptr<llvm::TargetMachine> machine = createTargetMachine(common, options.optLevel);
  result.target = ::quanta::describeTargets(*targets);
  auto weightsBytes = getWeightsBytes(module);
  if (!weightsBytes)
    return weightsBytes.takeError();
  result.weightsBytes = *weightsBytes;

  // Weights first: the description of a model holds the hash of its weights file.
  bool isFile = options.weights == WeightsPlacement::File && *weightsBytes;
  bool isLinked = options.kind != EmitKind::LLVMIR && options.kind != EmitKind::Assembly;
  bool mayBeLarge = common.architecture->hasLargeSections;
  // The rest of the 4 GiB is for the program that the object becomes a part of.
  if (!isFile && !mayBeLarge && *weightsBytes > (3ull << 30))
    return userError("the object would hold " + std::to_string(*weightsBytes >> 20) + " MiB of weights, but code for " +
                     common.triple + " reaches 3 GiB: keep them in a file of their own with --weights=file");
  uint64_t hash = 0;
  if (isFile) {
    std::string path = (*work)->file("weights");
    auto written = writeWeightsFile(module, path);
    if (!written)
      return written.takeError();
    hash = *written;
    if (llvm::Error error = publish(path, options.output + ".weights"))
      return error;
  }

  // Code.
  DialectRegistry registry;
  registerEmissionTranslations(registry);
  module->getContext()->appendDialectRegistry(registry);
  llvm::LLVMContext context;
  auto code = std::make_unique<llvm::Module>(name, context);
  prepare(*code, name, *machine);

  InterfaceBuilder interface(*code, *model, name);
  llvm::GlobalVariable *weights = nullptr;
  if (*weightsBytes && !isFile) {
    weights = new llvm::GlobalVariable(*code, llvm::Type::getInt8Ty(context), /*isConstant=*/true,
                                       llvm::GlobalValue::ExternalLinkage, nullptr, name + "_weights");
    weights->setVisibility(llvm::GlobalValue::HiddenVisibility);
    // Optimizations put the address into code, where it must not be a distance of 32 bits.
    if (mayBeLarge)
      weights->setCodeModel(llvm::CodeModel::Large);
  }
  for (const ::quanta::Target &target : *targets)
    interface.addCode(target);
  interface.build(result.target, weights, *weightsBytes, hash);
  if (llvm::Error error = linkBitcode(*code, common.getRuntime().runtime, "support runtime"))
    return error;
  if (options.kind == EmitKind::Executable) {
    if (llvm::Error error = linkBitcode(*code, common.getRuntime().runner, "command-line runner"))
      return error;
    interface.exported.insert("main");
  }
  setFunctionAttributes(*code, common);
  for (auto [index, target, part] : llvm::enumerate(*targets, modules))
    if (llvm::Error error = linkModel(*code, part, *machine, target, InterfaceBuilder::getEntryName(index)))
      return error;
  // Pools are shared by models; the first definition serves all.
  interface.exported.insert("quanta_pool_create");
  interface.exported.insert("quanta_pool_destroy");
  for (llvm::GlobalValue &value : code->global_values())
    if (!interface.exported.contains(value.getName()))
      internalize(value);

  std::string problems;
  llvm::raw_string_ostream problemsStream(problems);
  if (llvm::verifyModule(*code, &problemsStream))
    return userError("internal error: the generated code is invalid: " + StringRef(problems).rtrim());
  std::string object = isLinked ? (*work)->file("code.o") : product;
  if (llvm::Error error = isLinked && options.cache ? writeCachedObject(*code, *machine, options, object)
                                                    : writeCode(*code, *machine, options, object))
    return error;
  code.reset();
  if (!isLinked)
    return finish();

  // Weights, and everything together.
  std::vector<std::string> objects = {object};
  if (weights) {
    WeightsSection section;
    section.symbol = options.name + "_weights";
    section.bytes = *weightsBytes;
    section.large = mayBeLarge && (options.weights == WeightsPlacement::Large || *weightsBytes > (1ull << 30));
    section.name = (section.large ? ".lrodata.quanta." : ".rodata.quanta.") + options.name;
    objects.push_back((*work)->file("weights.o"));
    if (llvm::Error error = writeWeightsObject(module, section, *common.architecture, objects.back()))
      return error;
  }
  if (llvm::Error error = link(options.kind, objects, name, common, (*work)->path(), product))
    return error;
  return finish();
}
