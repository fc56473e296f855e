# Runs under lit; the site configuration (or `-D tools=DIR`) says where the tools are.
import os
import platform
import shutil
import subprocess

import lit.formats

config.name = "Quanta"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.excludes = ["Inputs", "Unit", "CMakeLists.txt"]

tools = lit_config.params.get("tools", getattr(config, "quanta_tools_dir", ""))
llvm_tools = getattr(config, "llvm_tools_dir", "/usr/lib/llvm-22/bin")
config.test_exec_root = getattr(config, "quanta_test_dir", os.path.join(tools, "..", "test"))
config.environment["PATH"] = os.pathsep.join([tools, llvm_tools, config.environment.get("PATH", os.environ["PATH"])])

source = os.path.dirname(config.test_source_root)
models = os.environ.get("QUANTA_MODELS", os.path.join(source, "..", "shared", "models"))
python = getattr(config, "python", "python3")
config.substitutions.append(("%models", models))
config.substitutions.append(("%examples", os.path.join(source, "examples")))
config.substitutions.append(("%source", source))
config.substitutions.append(("%python", python))
config.environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")

if os.path.isdir(os.path.join(models, "dev")):
    config.available_features.add("models")
if subprocess.run([python, "-c", "import onnx, numpy"], stderr=subprocess.DEVNULL).returncode == 0:
    config.available_features.add("onnx")
if subprocess.run([python, "-c", "import onnxruntime"], stderr=subprocess.DEVNULL).returncode == 0:
    config.available_features.add("onnxruntime")
if platform.machine() == "x86_64":
    config.available_features.add("x86_64")
if shutil.which("qemu-x86_64"):
    config.available_features.add("x86_64-emulator")
# Compiled models for another architecture run in an emulator, linked with that architecture's C library.
config.substitutions.append(("%aarch64", "qemu-aarch64 -L /usr/aarch64-linux-gnu"))
if shutil.which("aarch64-linux-gnu-gcc"):
    config.available_features.add("aarch64-gcc")
    if shutil.which("qemu-aarch64"):
        config.available_features.add("aarch64-emulator")
    else:
        lit_config.note("no tests run code for aarch64: install qemu-user")
else:
    lit_config.note("no tests link or run code for aarch64: install gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user")
