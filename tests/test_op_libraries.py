"""Which op library is loaded, and what is said where none fits."""

from __future__ import annotations

import re

import pytest

from fastw2v import _build_info
from fastw2v._core import op_libraries, supported

LIBRARIES = {"2.20.0": "_ops_tf220.so", "2.21.0": "_ops_tf221.so"}


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package with two op libraries."""
    monkeypatch.setattr(_build_info, "OP_LIBRARIES", LIBRARIES)
    monkeypatch.setattr(op_libraries, "_PACKAGE", tmp_path)
    for name in LIBRARIES.values():
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("tensorflow", "name"),
    [
        ("2.20.0", "_ops_tf220.so"),
        ("2.20.7", "_ops_tf220.so"),
        ("2.21.0-rc1", "_ops_tf221.so"),
        ("2.21.0", "_ops_tf221.so"),
    ],
)
def test_the_minor_version_decides(package, tensorflow, name):
    assert op_libraries.find(tensorflow) == package / name


@pytest.mark.parametrize("tensorflow", ["2.2.0", "2.19.1", "2.22.0", "2.210.0", "3.20.0"])
def test_none_fits(package, monkeypatch, tensorflow):
    monkeypatch.setattr(op_libraries, "_installed", lambda: "tensorflow")
    with pytest.raises(ImportError) as error:
        op_libraries.find(tensorflow)
    sentence = str(error.value)
    assert sentence.startswith(
        f"fastw2v was built for TensorFlow 2.20.0 and 2.21.0, but TensorFlow {tensorflow} is "
        'installed: run `pip install "tensorflow~=2.21.0"`'
    )
    # What the build refuses is not proposed.
    is_older = tensorflow.startswith(("2.2.", "2.19"))
    assert ("--force-reinstall" in sentence) == (not is_older)


def test_a_library_that_was_deleted(package):
    (package / "_ops_tf220.so").unlink()
    with pytest.raises(ImportError, match="op library is missing: run `pip install .`"):
        op_libraries.find("2.20.0")


def test_a_build_without_tensorflow(package, monkeypatch):
    monkeypatch.setattr(_build_info, "OP_LIBRARIES", {})
    with pytest.raises(ImportError, match="op library is missing"):
        op_libraries.find("2.21.0")


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "tensorflow-cpu"), ("aarch64", "tensorflow")]
)
def test_what_is_asked_of_pip(monkeypatch, machine, name):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(supported, "TENSORFLOW", ("2.20", "2.99"))
    assert supported.requirement() == f"{name}>=2.20,<2.100"
    assert supported.newest() == f"{name}~=2.99.0"


def test_supported_versions_are_in_order():
    numbers = [tuple(map(int, version.split("."))) for version in supported.TENSORFLOW]
    assert numbers == sorted(set(numbers))
    assert all(re.fullmatch(r"\d+\.\d+", version) for version in supported.TENSORFLOW)
