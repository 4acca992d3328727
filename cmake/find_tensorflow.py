"""Finds the installed TensorFlow without importing it.

Prints a line for each TensorFlow to compile for, with fields between bars: minor version, version,
whether it is built with CUDA (TRUE or FALSE), the directory that holds it,
libtensorflow_framework.so.2, include directories. Otherwise prints one sentence on stderr and ends
with status 1. A sentence on stderr with status 0 is a warning.

pip builds with the interpreter of the target environment but hides its packages, so the directories
are computed and not taken from `sys.path` alone. The environment variable FASTW2V_TENSORFLOW_DIR
names the directory that holds the package `tensorflow` and its metadata, and is then the only one;
several, with colons between them, give an op library each.

uv and `python -m build` build in an environment of their own and do not say for which one: then the
virtual environments of the same Python count that are activated (on PATH) or called .venv in the
current directory or above it, where uv looks too.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import runpy
import site
import sys
import sysconfig
from pathlib import Path

SUPPORTED = runpy.run_path(
    str(Path(__file__).resolve().parent.parent / "fastw2v" / "_core" / "supported.py")
)
MINORS: tuple[str, ...] = SUPPORTED["TENSORFLOW"]
LIBRARY = "tensorflow/libtensorflow_framework.so.2"
BUILD_INFO = "tensorflow/python/platform/build_info.py"
# How uv and `python -m build` call the environments that they build in and delete afterwards.
BUILD_ENVIRONMENT = re.compile(r"/(builds-v\d+|build-env-\w+)/")


def candidate_directories() -> list[Path]:
    """Directories in which TensorFlow may be installed, in the order in which Python looks."""
    paths = sysconfig.get_paths()
    directories = [*sys.path, paths["purelib"], paths["platlib"], *site.getsitepackages()]
    # pip hides the user's packages too; only a virtual environment really is without them.
    if sys.prefix == sys.base_prefix or sys.base_prefix in site.PREFIXES:
        directories.append(site.getusersitepackages())
    if in_build_environment():
        directories += map(str, other_environments())
    return list(dict.fromkeys(Path(directory).resolve() for directory in directories if directory))


def in_build_environment() -> bool:
    """Whether this Python is of an environment that a tool has made for the build alone."""
    return BUILD_ENVIRONMENT.search(f"{sys.prefix}/") is not None


def other_environments() -> list[Path]:
    """Directories of packages of the virtual environments that the build may be meant for."""
    activated = [Path(folder).parent for folder in os.environ.get("PATH", "").split(os.pathsep)]
    here = Path(os.environ.get("PWD") or os.getcwd())
    named = [folder / ".venv" for folder in (here, *here.parents)]
    packages = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    return [each / packages for each in (*activated, *named) if (each / "pyvenv.cfg").exists()]


def installed_version(directory: Path) -> str | None:
    """Version of the TensorFlow that was installed into `directory`, whatever its distribution."""
    if not (directory / LIBRARY).exists():
        return None
    for distribution in importlib.metadata.distributions(path=[str(directory)]):
        if any(str(file) == LIBRARY for file in distribution.files or ()):
            return distribution.version
    return None


def is_built_with_cuda(directory: Path) -> bool:
    """What `tf.test.is_built_with_cuda` says of the TensorFlow in `directory`."""
    file = directory / BUILD_INFO
    return file.exists() and bool(re.search(r"is_cuda_build\W+True", file.read_text()))


def install() -> str:
    """What to run to get a supported TensorFlow."""
    return f'{sys.executable} -m pip install "{SUPPORTED["requirement"]()}"'


def not_found(where: str) -> str:
    """What to do where there is no TensorFlow."""
    name_it = (
        "FASTW2V_TENSORFLOW_DIR = the site-packages directory that holds tensorflow, as `python -c "
        "\"import sysconfig; print(sysconfig.get_path('purelib'))\"` of its environment prints it"
    )
    if not where and in_build_environment():
        return (
            "the tool that builds fastw2v does so in an environment of its own, which sees no "
            f"TensorFlow ({sys.prefix}): install {SUPPORTED['requirement']()} into yours and "
            f"activate it, or give the build the environment variable {name_it}"
        )
    return (
        f"TensorFlow was not found in {where or sysconfig.get_paths()['purelib']}: run "
        f"{install()} and build again (extras of fastw2v cannot bring it, as they are installed "
        "after the build; a tool other than pip that builds in an environment of its own needs "
        f"the variable {name_it})"
    )


def minor(version: str) -> str:
    """The minor version of a version, 2.21 of 2.21.0rc1."""
    return ".".join(re.findall(r"\d+", version)[:2])


def _order(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def describe(directory: Path, version: str) -> str:
    """The line for a TensorFlow. Raises SystemExit where it is too old."""
    if _order(minor(version)) < _order(MINORS[0]):
        raise SystemExit(
            f"TensorFlow {version} in {directory} is older than {MINORS[0]}, the oldest that "
            f"fastw2v is built with: run {install()}"
        )
    if _order(minor(version)) > _order(MINORS[-1]):
        print(
            f"TensorFlow {version} is newer than {MINORS[-1]}, the newest that fastw2v was tried "
            "with",
            file=sys.stderr,
        )
    include = directory / "tensorflow" / "include"
    cuda = "TRUE" if is_built_with_cuda(directory) else "FALSE"
    external = (include / "external" / name for name in ("highwayhash", "farmhash_archive/src"))
    fields = (minor(version), version, cuda, directory, directory / LIBRARY, include, *external)
    return "|".join(map(str, fields))


def find() -> str:
    """The lines. Raises SystemExit with a sentence where there is nothing to build against."""
    named = os.environ.get("FASTW2V_TENSORFLOW_DIR", "")
    if not named:
        for directory in candidate_directories():
            version = installed_version(directory)
            if version is not None:
                return describe(directory, version)
        raise SystemExit(not_found(""))
    versions: dict[str, Path] = {}
    lines = []
    for directory in (Path(each).resolve() for each in named.split(os.pathsep) if each):
        version = installed_version(directory)
        if version is None:
            raise SystemExit(not_found(str(directory)))
        if minor(version) in versions:
            raise SystemExit(
                f"FASTW2V_TENSORFLOW_DIR names two directories with TensorFlow {minor(version)}, "
                f"{versions[minor(version)]} and {directory}: leave one of them out"
            )
        versions[minor(version)] = directory
        lines.append(describe(directory, version))
    return "\n".join(lines)


if __name__ == "__main__":
    print(find())
