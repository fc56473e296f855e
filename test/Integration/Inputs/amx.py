"""Runs compiled models that use AMX or AVX-VNNI: as they are where the CPU has them, else in the emulator amx_emulator.c.

    unit = amx.find(folder, cpu)           # None, with a message, where tests with this CPU's code are not run
    unit.prepare(folder / "model.so")      # compiled for the CPU
    subprocess.run(["quant-run", ...], env=unit.environment())
"""
import os
import pathlib
import re
import struct
import subprocess

# The host, with what the level x86-amx needs besides; the least CPU of the level x86-avx-vnni.
CPU, VNNI_CPU = "native+amx-tile+amx-int8+amx-bf16", "x86-64-v3+avxvnni"
# What it needs that the emulator has, and what it needs besides.
NEEDED = {CPU: ("amx_tile amx_int8 amx_bf16", "avx512f avx512bw avx512_vnni avx512_vpopcntdq avx512_bf16 gfni"),
          VNNI_CPU: ("avx_vnni", "avx2 fma f16c movbe bmi2")}


def find(folder, cpu=CPU):
    flags = set(re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    emulated, others = NEEDED[cpu]
    if flags.issuperset(emulated.split()):
        return Native()
    if missing := [name for name in others.split() if name not in flags]:
        print(f"{cpu}: not run, this CPU has neither {emulated} nor {' '.join(missing)}")
        return None
    return Emulator(pathlib.Path(folder))


class Native:
    def prepare(self, library):
        pass

    def environment(self):
        return dict(os.environ)

    def multiplications(self):
        """Of the last run; None: not known."""
        return None


class Emulator:
    def __init__(self, folder):
        self.preloaded, self.log = folder / "amx_emulator.so", folder / "multiplications.txt"
        flags = "-shared -fPIC -ftls-model=initial-exec -O3 -march=native -ffp-contract=off -Wall -Wextra -Werror"
        source = pathlib.Path(__file__).parent / "amx_emulator.c"
        subprocess.run(["cc", *flags.split(), source, "-o", self.preloaded, "-ldl", "-lm"], check=True)

    def prepare(self, library):
        """Has the library ask the emulator what the CPU can do: the first byte of each CPUID and XGETBV becomes 06."""
        text = subprocess.run(["llvm-objdump", "-d", library], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"^\s*([0-9a-f]+): ((?:[0-9a-f]{2} )+)\s+(cpuid|xgetbv)\s*$", text, re.M)
        assert {name for _, _, name in found} == {"cpuid", "xgetbv"}, f"{library} does not ask for the CPU's features"
        image = bytearray(library.read_bytes())
        for address, code, name in found:
            at, code = offset(image, int(address, 16)), bytes.fromhex(code)
            assert code == {"cpuid": b"\x0f\xa2", "xgetbv": b"\x0f\x01\xd0"}[name] == image[at:at + len(code)]
            image[at] = 0x06
        library.write_bytes(image)

    def environment(self, refused=False):
        """For a run, whose process the system gives the registers of AMX or refuses them."""
        self.log.unlink(missing_ok=True)
        return {**os.environ, "LD_PRELOAD": str(self.preloaded.resolve()), "AMX_LOG": str(self.log.resolve()),
                "AMX_PERMISSION": "refused" if refused else "granted"}

    def multiplications(self):
        """Of the last run."""
        return int(self.log.read_text())


def offset(image, address):
    """Where an ELF file of 64 bits has what is loaded to the address: by its program headers."""
    headers, size, count = *struct.unpack_from("<Q", image, 32), *struct.unpack_from("<HH", image, 54)
    for i in range(count):
        kind, _, start, first, _, length = struct.unpack_from("<IIQQQQ", image, headers + i * size)
        if kind == 1 and first <= address < first + length:  # PT_LOAD
            return start + address - first
    raise ValueError(f"nothing is loaded to {address:#x}")
