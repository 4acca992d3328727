"""Which of the compiled op libraries fits a TensorFlow, and what to do where none does. Imports
nothing of TensorFlow."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from fastw2v._core import missing, supported

_PACKAGE = Path(__file__).parents[1]
# Not by the name of the package, which no registry has.
_REBUILD = "`pip install --force-reinstall --no-deps .` in the source tree of fastw2v"


def versions() -> list[str]:
    """The versions of TensorFlow that there are op libraries for.

    Raises:
        ImportError: The package is not built, with the command that builds it.
    """
    return list(_libraries())


def find(tensorflow: str) -> Path:
    """The op library for a version of TensorFlow.

    Raises:
        ImportError: There is none, with what to install.
    """
    # The C++ interface of TensorFlow changes with every minor version: the dynamic linker would
    # refuse the library of another one with a list of missing symbols.
    for version, name in _libraries().items():
        if _minor(version) == _minor(tensorflow):
            path = _PACKAGE / name
            if not path.exists():
                raise ImportError(missing.LIBRARY)
            return path
    raise ImportError(_none_fits(tensorflow))


def _libraries() -> dict[str, str]:
    try:
        from fastw2v._build_info import OP_LIBRARIES
    except ImportError:
        raise ImportError(missing.LIBRARY) from None
    if not OP_LIBRARIES:
        raise ImportError(missing.LIBRARY)
    return dict(OP_LIBRARIES)


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _none_fits(tensorflow: str) -> str:
    built = versions()
    install = f'`pip install "{_installed()}~={".".join(map(str, _minor(built[-1])))}.0"`'
    remedy = f"run {install}, for which it was built"
    if _minor(tensorflow) >= _minor(supported.TENSORFLOW[0]):
        remedy += f", or {_REBUILD}, which builds it for {tensorflow}"
    return (
        f"fastw2v was built for TensorFlow {' and '.join(built)}, but TensorFlow {tensorflow} is "
        f"installed: {remedy}"
    )


def _installed() -> str:
    """The distribution that TensorFlow is of: one over another would leave a mixture of both."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            metadata.version(name)
            return name
        except metadata.PackageNotFoundError:
            continue
    return supported.distribution()
