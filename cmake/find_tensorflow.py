"""Finds the installed TensorFlow without importing it.

Prints one CMake list: version, whether it is built with CUDA (TRUE or FALSE),
libtensorflow_framework.so.2, include directories. Otherwise prints
one sentence on stderr and ends with status 1. A sentence on stderr with status 0 is a warning.

pip builds with the interpreter of the target environment but hides its packages, so the directories
are computed and not taken from `sys.path` alone. The environment variable FASTW2V_TENSORFLOW_DIR
names the directory that holds the package `tensorflow` and its metadata, and is then the only one.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import site
import sys
import sysconfig
from pathlib import Path

OLDEST, NEWEST = (2, 20), (2, 21)
LIBRARY = "tensorflow/libtensorflow_framework.so.2"
BUILD_INFO = "tensorflow/python/platform/build_info.py"
# tensorflow-cpu has no wheels for aarch64.
WANTED = ("tensorflow" if platform.machine() == "aarch64" else "tensorflow-cpu") + ">=2.20,<2.22"
INSTALL = f'{sys.executable} -m pip install "{WANTED}"'
# How uv and `python -m build` call the environments that they build in and delete afterwards.
BUILD_ENVIRONMENT = re.compile(r"/(builds-v\d+|build-env-\w+)/")


def candidate_directories() -> list[Path]:
    """Directories in which TensorFlow may be installed, in the order in which Python looks."""
    chosen = os.environ.get("FASTW2V_TENSORFLOW_DIR")
    if chosen:
        return [Path(chosen).resolve()]
    paths = sysconfig.get_paths()
    directories = [*sys.path, paths["purelib"], paths["platlib"], *site.getsitepackages()]
    # pip hides the user's packages too; only a virtual environment really is without them.
    if sys.prefix == sys.base_prefix or sys.base_prefix in site.PREFIXES:
        directories.append(site.getusersitepackages())
    return list(dict.fromkeys(Path(directory).resolve() for directory in directories if directory))


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


def not_found() -> str:
    """What to do where there is no TensorFlow."""
    chosen = os.environ.get("FASTW2V_TENSORFLOW_DIR")
    where = chosen or sysconfig.get_paths()["purelib"]
    name_it = (
        "FASTW2V_TENSORFLOW_DIR = the site-packages directory that holds tensorflow, as `python -c "
        "\"import sysconfig; print(sysconfig.get_path('purelib'))\"` of its environment prints it"
    )
    if not chosen and BUILD_ENVIRONMENT.search(f"{sys.prefix}/"):
        return (
            "the tool that builds fastw2v does so in an environment of its own, which sees no "
            f"TensorFlow ({sys.prefix}): install {WANTED} into yours, and give "
            f"the build the environment variable {name_it}"
        )
    return (
        f"TensorFlow was not found in {where}: run {INSTALL} and build again (extras of fastw2v "
        "cannot bring it, as they are installed after the build; a tool other than pip that builds "
        f"in an environment of its own needs the variable {name_it})"
    )


def find() -> str:
    """The CMake list. Raises SystemExit with a sentence where there is nothing to build against."""
    for directory in candidate_directories():
        version = installed_version(directory)
        if version is not None:
            break
    else:
        raise SystemExit(not_found())
    minor = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if minor < OLDEST:
        raise SystemExit(
            f"TensorFlow {version} in {directory} is older than 2.20, the oldest that fastw2v is "
            f"built with: run {INSTALL}"
        )
    if minor > NEWEST:
        print(
            f"TensorFlow {version} is newer than 2.21, the newest that fastw2v was tried with",
            file=sys.stderr,
        )
    include = directory / "tensorflow" / "include"
    return ";".join(
        str(item)
        for item in (
            version,
            "TRUE" if is_built_with_cuda(directory) else "FALSE",
            directory / LIBRARY,
            include,
            include / "external" / "highwayhash",
            include / "external" / "farmhash_archive" / "src",
        )
    )


if __name__ == "__main__":
    print(find())
