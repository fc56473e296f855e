# REQUIRES: numpy
# RUN: rm -rf %t && mkdir -p %t
# RUN: %python %s %source %t
"""Running models: a C file stands for the compiler's output."""

import gc
import os
import shutil
import subprocess
import sys
import threading
import unittest
from pathlib import Path

import numpy as np
import quanta

SOURCE, FOLDER = map(Path, sys.argv[1:])
RUNTIME = SOURCE / "lib" / "Runtime"
CC = [
    shutil.which("clang") or "cc",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
    f"-I{SOURCE}/include",
    f"-I{RUNTIME}",
]
TYPES = ["F32", "F16", "BF16", "I8", "U8", "I16", "I32", "I64", "BOOL", "F64", "U16", "U32", "U64"]


def compile_runtime() -> list[str]:
    objects = []
    for name in ("quanta_rt", "quanta_pool", "quanta_cpu"):
        objects.append(f"{FOLDER}/{name}.o")
        subprocess.run([*CC, "-c", RUNTIME / f"{name}.c", "-o", objects[-1]], check=True)
    return objects


OBJECTS = compile_runtime()


def make(name: str, type: str = "F32", scale: float = 2, abi: int = 2) -> Path:
    path = FOLDER / f"{name}.so"
    new = path.with_suffix(".new")
    macros = {"NAME": f'"{name}"', "TYPE": f"QUANTA_{type}", "SCALE": f"{float(scale)}f", "ABI": abi}
    defines = [f"-D{key}={value}" for key, value in macros.items()]
    subprocess.run([*CC, *defines, "-shared", SOURCE / "test/Python/Inputs/model.c", *OBJECTS, "-o", new], check=True)
    new.replace(path)
    return path


def count_mappings(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path.resolve()))


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.path = make("hand")

    def setUp(self) -> None:
        self.model = quanta.load(self.path)

    def run_model(self, x, start=0, model=None):
        return (model or self.model).run({"x": x, "start.0": np.int64(start)})

    def assert_refused(self, message: str, *args, **kwargs) -> None:
        with self.assertRaisesRegex(quanta.RunError, message):
            self.run_model(*args, **kwargs)

    def test_ports(self):
        x, start = self.model.inputs
        self.assertEqual(x, quanta.Port("x", np.dtype(np.float32), (None, 3)))
        self.assertEqual(start, quanta.Port("start.0", np.dtype(np.int64), ()))
        self.assertEqual([port.name for port in self.model.outputs], ["y", "runs"])
        self.assertEqual((self.model.name, self.model.target, self.model.recipe), ("hand", "any", "none"))
        self.assertEqual(
            repr(self.model),
            "<CompiledModel 'hand' (x: float32[?, 3], start.0: int64[]) -> (y: float32[?, 3], runs: int64[])>",
        )
        self.assertEqual(self.model.report, {})

    def test_dynamic_shapes(self):
        for rows in (1, 5, 1000, 0, 2):
            x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
            y = self.run_model(x)["y"]
            np.testing.assert_array_equal(y, 2 * x)
            self.assertEqual(y.dtype, np.float32)

    def test_outputs_are_owned(self):
        first = self.run_model(np.ones((4, 3), np.float32))
        self.run_model(np.zeros((4, 3), np.float32))
        np.testing.assert_array_equal(first["y"], np.full((4, 3), 2))
        self.assertTrue(first["y"].flags.owndata and first["y"].flags.writeable)
        self.assertEqual(first["runs"].shape, ())
        del self.model
        gc.collect()
        self.assertEqual(first["y"].sum(), 24)

    def test_layouts(self):
        x = np.arange(24, dtype=np.float32).reshape(3, 8)[:, ::2].T
        np.testing.assert_array_equal(self.run_model(x)["y"], 2 * x)
        x = np.frombuffer(b"\0" + np.ones(6, np.float32).tobytes(), np.float32, offset=1).reshape(2, 3)
        np.testing.assert_array_equal(self.run_model(x)["y"], 2 * x)  # neither aligned nor writeable
        self.assertEqual(self.run_model(np.ones((1, 3), np.float32), start=7)["runs"], 10)

    def test_types(self):
        for type in TYPES:
            with self.subTest(type):
                model = quanta.load(make(f"type_{type}", type, scale=1))
                dtype = model.inputs[0].dtype
                x = np.array([[0, 1, 2], [3, 1, 0]]).astype(dtype)
                y = self.run_model(x, model=model)["y"]
                self.assertEqual(y.dtype, dtype)
                self.assertEqual(y.tobytes(), x.tobytes())

    def test_wrong_inputs(self):
        ones = np.ones((2, 3), np.float32)
        self.assert_refused("model 'hand': input 'x' must be float32, got float64", np.ones((2, 3)))
        self.assert_refused("input 'x' must be float32, got >f4", ones.astype(">f4"))
        self.assert_refused("input 'x' must be float32, got int64", [[1, 2, 3]])
        self.assert_refused("input 'x' must have 2 dimensions, got 3", ones[None])
        self.assert_refused("input 'x' must have 2 dimensions, got 9", np.ones((1,) * 9, np.float32))
        self.assert_refused("input 'x' must have 3 for dimension 1, got 4", np.ones((2, 4), np.float32))
        with self.assertRaisesRegex(
            quanta.RunError, "its inputs are 'x', 'start.0': 'start.0' is missing, there is no 'z'"
        ):
            self.model(x=ones, z=ones)
        np.testing.assert_array_equal(self.run_model(ones)["y"], 2 * ones)

    def test_identifiers(self):
        y = self.model(**{"x": np.ones((1, 3), np.float32), "start.0": np.int64(0)})["y"]
        self.assertEqual(y.sum(), 6)

    def test_failure_while_running(self):
        x = np.ones((2, 3), np.float32)
        self.assert_refused("model 'hand': cannot start below zero", x, start=-1)
        np.testing.assert_array_equal(self.run_model(x)["y"], 2 * x)

    def test_reset(self):
        x = np.ones((1, 3), np.float32)
        self.assertEqual([int(self.run_model(x)["runs"]) for _ in range(3)], [1, 2, 3])
        self.model.reset()
        self.assertEqual(self.run_model(x)["runs"], 1)

    def test_two_models(self):
        other = quanta.load(make("other", scale=3), threads=2)
        x = np.ones((100, 3), np.float32)
        for _ in range(3):
            self.assertEqual(self.run_model(x)["y"][0, 0], 2)
            self.assertEqual(self.run_model(x, model=other)["y"][0, 0], 3)

    def test_threads(self):
        shared = quanta.load(self.path, threads=2)
        own = [shared.new_instance(threads=1) for _ in range(4)]
        x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
        wrong = []

        def work(model: quanta.CompiledModel) -> None:
            for i in range(50):
                for runner in (model, shared):
                    if not np.array_equal(self.run_model(x + i, model=runner)["y"], 2 * (x + i)):
                        wrong.append(i)

        threads = [threading.Thread(target=work, args=(model,)) for model in own]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(
            [int(self.run_model(x, model=model)["runs"]) for model in (shared, *own)], [201, 51, 51, 51, 51]
        )

    def test_replaced_file(self):
        path = make("replaced", scale=2)
        x = np.ones((1, 3), np.float32)
        before = quanta.load(path)
        make("replaced", scale=5)
        after = quanta.load(path)
        self.assertEqual(self.run_model(x, model=before)["y"][0, 0], 2)
        self.assertEqual(self.run_model(x, model=after)["y"][0, 0], 5)

    def test_unloading(self):
        path = make("unloaded")
        model = quanta.load(path, threads=2)
        self.run_model(np.ones((500, 3), np.float32), model=model)
        other = model.new_instance()
        del model
        gc.collect()
        self.assertGreater(count_mappings(path), 0)
        self.run_model(np.ones((1, 3), np.float32), model=other)
        del other
        gc.collect()
        self.assertEqual(count_mappings(path), 0)

    def test_bad_files(self):
        (FOLDER / "text.so").write_text("not a library")
        (FOLDER / "empty.c").write_text("")
        subprocess.run([*CC, "-shared", FOLDER / "empty.c", "-o", FOLDER / "empty.so"], check=True)
        for name, message in {
            "text": "cannot load '.*text.so': .*(invalid ELF header|file too short)",
            "none": "cannot load '.*none.so': .*No such file",
            "empty": "'.*empty.so' is not a model that quantc made",
        }.items():
            with self.subTest(name), self.assertRaisesRegex(quanta.RunError, message):
                quanta.load(FOLDER / f"{name}.so")
        with self.assertRaisesRegex(
            quanta.RunError, "has interface version 9, this package needs [0-9]+: compile the model again"
        ):
            quanta.load(make("old", abi=9))
        with self.assertRaisesRegex(quanta.RunError, "model 'hand': cannot use -1 threads"):
            quanta.load(self.path, threads=-1)

    def test_relative_path(self):
        os.chdir(FOLDER)
        self.assertEqual(quanta.load("hand.so").name, "hand")


unittest.main(argv=sys.argv[:1])
