"""Runs compiled models that use AMX: as they are where the CPU has it, else in the emulator amx_emulator.c.

    unit = amx.find(folder)                # None, with a message, where tests with AMX are not run
    unit.prepare(folder / "model.so")      # compiled for amx.CPU
    subprocess.run(["quant-run", ...], env=unit.environment())
"""
import os
import pathlib
import re
import struct
import subprocess

# The host, with what the level x86-amx needs besides.
CPU = "native+amx-tile+amx-int8+amx-bf16"
NEEDED = "avx512f avx512bw avx512_vnni avx512_vpopcntdq gfni"


def find(folder):
    flags = set(re.search(r"^flags\s*:(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    if {"amx_tile", "amx_int8", "amx_bf16"} <= flags:
        return Native()
    if missing := [name for name in NEEDED.split() if name not in flags]:
        print(f"{CPU}: not run, this CPU has neither AMX nor {', '.join(missing)}")
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
        self.library, self.log = folder / "amx_emulator.so", folder / "amx_multiplications.txt"
        flags = "-shared -fPIC -ftls-model=initial-exec -O3 -march=native -ffp-contract=off -Wall -Wextra -Werror"
        source = pathlib.Path(__file__).parent / "amx_emulator.c"
        subprocess.run(["cc", *flags.split(), source, "-o", self.library, "-ldl", "-lm"], check=True)

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
        return {**os.environ, "LD_PRELOAD": str(self.library.resolve()), "AMX_LOG": str(self.log.resolve()),
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
