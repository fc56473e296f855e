"""Puts libQuantaC.so, which the C++ build makes, into the package."""

import os
import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent


def find_library() -> Path:
    chosen = os.environ.get("QUANTA_BUILD")
    builds = [Path(chosen)] if chosen else [ROOT / "build" / preset for preset in ("release", "dev")]
    for build in builds:
        if (library := build / "lib" / "libQuantaC.so").is_file():
            return library
    raise SystemExit(
        f"error: there is no lib/libQuantaC.so in {' or '.join(map(str, builds))}: build Quanta first (scripts/build), "
        "or set QUANTA_BUILD to its build folder"
    )


def read_version() -> str:
    match = re.search(r"project\(Quanta VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert match, "CMakeLists.txt has no version"
    return match[1]


class BuildWithLibrary(build_py):
    def run(self) -> None:
        # An editable install uses the build folder itself.
        library = None if self.editable_mode else find_library()
        super().run()
        if library:
            shutil.copy2(library, Path(self.build_lib, "quanta"))


class PlatformWheel(bdist_wheel):
    """Any Python 3, this platform."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(version=read_version(), cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
