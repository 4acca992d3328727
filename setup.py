"""Builds the compiled parts with CMake. All else about the package stands in pyproject.toml.

The environment variable CMAKE_ARGS adds options to the CMake configuration,
CMAKE_BUILD_PARALLEL_LEVEL limits the number of compilers that run at once, FASTW2V_TENSORFLOW_DIR
names the TensorFlow to compile for (cmake/find_tensorflow.py), and FASTW2V_BUILD_DIR the directory
of the objects.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import ExecError

if int(setuptools.__version__.split(".")[0]) < 77:
    raise SystemExit(
        f"error: setuptools is {setuptools.__version__}, fastw2v is built with 77 or later: run "
        f'{sys.executable} -m pip install "setuptools>=77"'
    )

ROOT = Path(__file__).resolve().parent
if not os.access(ROOT, os.W_OK):
    raise SystemExit(f"error: {ROOT} is read-only, and the build writes there: build from a copy")
PACKAGE = "fastw2v"


class Build(build):
    """Starts from an empty copy of the package, so that no deleted module lives on in a wheel."""

    def run(self) -> None:
        shutil.rmtree(Path(self.build_lib) / PACKAGE, ignore_errors=True)
        super().run()


class CMakeBuild(build_ext):
    """Writes the libraries and `_build_info.py` into the package."""

    def run(self) -> None:
        directory = self._build_directory()
        directory.mkdir(parents=True, exist_ok=True)
        # What CMake remembers of the tools names the build environment of the last run, which pip
        # has deleted since, and would hide another CXX. The compiled objects stay.
        for remembered in directory.glob("CMakeFiles/[0-9]*"):
            shutil.rmtree(remembered)
        (directory / "CMakeCache.txt").unlink(missing_ok=True)
        failure = directory / "failure.txt"
        failure.unlink(missing_ok=True)

        cmake = _cmake()
        configure = [
            *cmake,
            *("-S", str(ROOT), "-B", str(directory), "-G", "Ninja"),
            f"-DCMAKE_MAKE_PROGRAM={_program('ninja')}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DFASTW2V_OUTPUT_DIR={self._output_directory()}",
            *shlex.split(os.environ.get("CMAKE_ARGS", "")),
        ]
        done = subprocess.run(
            configure, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if failure.exists():
            raise ExecError(failure.read_text())
        print(done.stdout, flush=True)
        if done.returncode != 0:
            raise ExecError("CMake could not configure the build; its message is above")
        print("compiling the C++ sources, which takes minutes", flush=True)
        if subprocess.run([*cmake, "--build", str(directory)]).returncode != 0:
            raise ExecError("the C++ sources did not compile; the compiler's message is above")

    def _output_directory(self) -> Path:
        return (ROOT if self.inplace else Path(self.build_lib).resolve()) / PACKAGE

    def _build_directory(self) -> Path:
        # One directory for wheels and editable installs, kept between them: a second build compiles
        # only what changed.
        default = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        return Path(os.environ.get("FASTW2V_BUILD_DIR") or default).resolve()

    def _file_names(self) -> list[str]:
        libraries = self._build_directory() / "libraries.txt"
        if not libraries.exists():  # setuptools also asks before anything is built
            return []
        return ["_build_info.py", *libraries.read_text().split()]

    def get_outputs(self) -> list[str]:
        return [str(Path(self.build_lib, PACKAGE, name)) for name in self._file_names()]

    def get_output_mapping(self) -> dict[str, str]:
        if not self.inplace:
            return {}
        sources = [str(Path(PACKAGE, name)) for name in self._file_names()]
        return dict(zip(self.get_outputs(), sources, strict=True))


def _cmake() -> list[str]:
    # The package that this interpreter sees wins over a program on the path, which may be older.
    try:
        importlib.metadata.distribution("cmake")
        return [sys.executable, "-m", "cmake"]
    except importlib.metadata.PackageNotFoundError:
        return [_program("cmake")]


def _program(name: str) -> str:
    # Without build isolation the environment may not be activated: look beside its interpreter.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = shutil.which(name, path=path)
    if found is None:
        raise ExecError(f"{name} was not found: run {sys.executable} -m pip install {name}")
    return found


setup(
    ext_modules=[Extension(f"{PACKAGE}._kernels", sources=[])],
    cmdclass={"build": Build, "build_ext": CMakeBuild},
)
