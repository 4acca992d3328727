"""Which TensorFlow is supported. The package, its build and its tools read it here; it imports
nothing, so that each of them can run this file alone."""

import platform

# Minor versions, the oldest first. The op library is compiled for each.
TENSORFLOW = ("2.20", "2.21")


def distribution() -> str:
    """The smallest one with wheels for this processor: tensorflow-cpu has none for aarch64."""
    return "tensorflow" if platform.machine() in ("aarch64", "arm64") else "tensorflow-cpu"


def requirement(name: str = "") -> str:
    """All supported versions of a distribution of TensorFlow, as pip takes it."""
    major, minor = TENSORFLOW[-1].split(".")
    return f"{name or distribution()}>={TENSORFLOW[0]},<{major}.{int(minor) + 1}"


def newest() -> str:
    """The newest supported one, as pip takes it."""
    return f"{distribution()}~={TENSORFLOW[-1]}.0"
