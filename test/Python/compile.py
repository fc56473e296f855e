# REQUIRES: numpy, quanta-c
# RUN: rm -rf %t && mkdir -p %t
# RUN: %python %s %examples %t
"""Compiling models."""

import json
import sys
import threading
import unittest
from pathlib import Path

import numpy as np
import quanta

EXAMPLES, FOLDER = map(Path, sys.argv[1:])
MODEL = EXAMPLES / "digits-vit" / "model.onnx"
with np.load(EXAMPLES / "digits-vit" / "test.npz") as cases:
    IMAGES, LOGITS = cases["image"][:32], cases["logits"][:32]


class InMemory:
    """All that is needed of an onnx.ModelProto."""

    def SerializeToString(self) -> bytes:
        return MODEL.read_bytes()


class Compile(unittest.TestCase):
    def check(self, model: quanta.CompiledModel, tolerance: float = 1e-4) -> None:
        logits = model(image=IMAGES)["logits"]
        np.testing.assert_allclose(logits, LOGITS, rtol=0, atol=tolerance * np.abs(LOGITS).max())

    def test_temporary(self):
        model = quanta.compile(MODEL)
        self.assertEqual(model.inputs, (quanta.Port("image", np.dtype(np.float32), (None, 1, 8, 8)),))
        self.check(model)
        self.assertEqual(model.report["problems"], [])
        folder = model.path.parent
        self.assertTrue(folder.exists())
        del model
        self.assertFalse(folder.exists())

    def test_output_and_report(self):
        output, report = FOLDER / "digits.so", FOLDER / "digits.json"
        model = quanta.compile(MODEL, output, recipe="rtn{bits=8}", keep="head", report=report, threads=1)
        self.check(model, 0.05)
        self.check(quanta.load(output), 0.05)
        self.assertEqual((model.name, model.recipe), ("digits", "rtn{bits=8}"))
        self.assertEqual(json.loads(report.read_text())["layers"], model.report["layers"])
        self.assertTrue(8 < model.report["bits_per_weight"] < 9)

    def test_calibration(self):
        data = FOLDER / "calibration.npz"
        np.savez(data, image=IMAGES)
        passes = "quanta-select-layers,quanta-calibrate{data=%s pipeline='quanta-quantize-weights{bits=8}'}" % data
        self.check(quanta.compile(MODEL, pass_pipeline=passes), 0.05)
        with self.assertRaisesRegex(quanta.CompileError, "give --store"):
            quanta.compile(MODEL, recipe="rtn", calib=data, calib_samples=8, seed=1, resume=True)

    def test_proto_and_fixed_dimension(self):
        model = quanta.compile(InMemory(), dims={"batch": 32}, opt_level=1)
        self.assertEqual(model.inputs[0].shape, (32, 1, 8, 8))
        self.check(model)
        with self.assertRaisesRegex(quanta.RunError, "must have 32 for dimension 0, got 1"):
            model(image=IMAGES[:1])

    def test_other_kinds(self):
        text = quanta.compile(MODEL, FOLDER / "digits.mlir")
        self.assertIn("func.func @main", text.path.read_text())
        with self.assertRaisesRegex(quanta.RunError, "cannot load"):
            text(image=IMAGES)
        with self.assertRaisesRegex(ValueError, "emit='obj' needs an output"):
            quanta.compile(MODEL, emit="obj")

    def test_two_at_once(self):
        models = {}

        def work(bits: int) -> None:
            models[bits] = quanta.compile(MODEL, recipe=f"rtn{{bits={bits}}}")

        threads = [threading.Thread(target=work, args=(bits,)) for bits in (4, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLess(models[4].report["bits_per_weight"], models[8].report["bits_per_weight"])
        self.check(models[8], 0.05)
        self.check(models[4], 0.5)

    def test_errors(self):
        for options, message in [
            ({"recipe": "nonsense"}, "nonsense"),
            ({"opt_level": 7}, "optimization level '7' does not exist; use 0 to 3"),
            ({"dims": {"batch": 0}}, "dimension 'batch' must have a name and a positive size, got 0"),
            ({"weights": "nowhere"}, "weights must be auto, large or file, got 'nowhere'"),
            ({"model": FOLDER / "none.onnx"}, "there is no such file"),
        ]:
            with self.subTest(message), self.assertRaises(quanta.CompileError) as caught:
                quanta.compile(**{"model": MODEL, **options})
            self.assertNotIsInstance(caught.exception, quanta.ImportProblem)
            self.assertEqual([d.severity for d in caught.exception.diagnostics], ["error"])
            self.assertIn(message, str(caught.exception))

    def test_import_problem(self):
        path = FOLDER / "text.onnx"
        path.write_text("this is not ONNX")
        with self.assertRaises(quanta.ImportProblem) as caught:
            quanta.compile(path)
        self.assertTrue(caught.exception.problems)
        self.assertIn("text.onnx", caught.exception.diagnostics[0].message)

    def test_version(self):
        self.assertRegex(quanta.version(), r"^\d+\.\d+\.\d+$")


unittest.main(argv=sys.argv[:1])
