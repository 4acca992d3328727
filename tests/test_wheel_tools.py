"""The tools that make wheels for several versions of TensorFlow and check them."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, contents in members.items():
            file.writestr(name, contents)
    return path


def libraries(contents=b""):
    minors = load("check_wheel").SUPPORTED["TENSORFLOW"]
    return {f"fastw2v/_ops_tf{minor.replace('.', '')}.so": contents for minor in minors}


GOOD = "fastw2v-1-cp311-cp311-manylinux_2_34_x86_64.whl"


def test_a_good_wheel(tmp_path):
    # A path of the loader is relative to the library.
    wheel = archive(
        tmp_path / GOOD, **libraries(b"\0$ORIGIN/../tensorflow\0csrc/core/text.h\0a/b\0")
    )
    assert list(load("check_wheel").inspect(wheel)) == []


@pytest.mark.parametrize(
    "path", [b"/home/a/fastw2v/csrc/x.cc", b"/opt/tensorflow/include/op.h", b"/usr/lib/libx.so.2"]
)
def test_a_path_of_the_build(tmp_path, path):
    wheel = archive(tmp_path / GOOD, **libraries(b"text\0" + path + b"\0"))
    problems = list(load("check_wheel").inspect(wheel))
    assert len(problems) == len(libraries())
    assert all(path.decode() in problem for problem in problems)


def test_a_library_that_is_missing(tmp_path):
    first, *others = libraries()
    wheel = archive(tmp_path / GOOD, **dict.fromkeys(others, b""))
    assert list(load("check_wheel").inspect(wheel)) == [f"{GOOD} has no {first}"]


def test_a_wheel_that_is_not_repaired(tmp_path):
    wheel = archive(tmp_path / GOOD.replace("manylinux_2_34", "linux"), **libraries())
    (problem,) = load("check_wheel").inspect(wheel)
    assert "auditwheel did not repair it" in problem


def test_the_interpreter_for_a_wheel():
    tool = load("check_wheel")
    assert tool.interpreter_for(f"cp{sys.version_info[0]}{sys.version_info[1]}") == sys.executable
    assert tool.interpreter_for("cp399") is None


def test_only_what_a_build_needs_is_unpacked(tmp_path):
    needed = {
        "tensorflow/include/tensorflow/core/op.h": "a",
        "tensorflow/libtensorflow_framework.so.2": "b",
        "tensorflow/python/platform/build_info.py": "c",
        "tensorflow_cpu-2.21.0.dist-info/METADATA": "d",
        "tensorflow_cpu-2.21.0.dist-info/RECORD": "e",
    }
    others = dict.fromkeys(("tensorflow/libtensorflow_cc.so.2", "tensorflow/python/a.py"), "f")
    directory = tmp_path / "2.21"
    load("fetch_tensorflow").unpack(archive(tmp_path / "a.whl", **needed, **others), directory)
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {str(path.relative_to(directory)): path.read_text() for path in files} == needed


REPORT = """<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10"
time="90"/></testsuites>"""


def test_rows_of_the_matrix(tmp_path):
    tool = load("matrix")
    report = tmp_path / "tests.xml"
    report.write_text(REPORT)
    counts = tool.counts(report)
    assert counts == {"passed": "4", "failed": "3", "skipped": "3", "minutes": "1.5"}
    common = {"keras": "3", "date": "2026-01-01", "tests": "all", **counts}
    old = [
        {"python": "3.13.0", "tensorflow": "2.20.0", **common},
        {"python": "3.9.1", "tensorflow": "2.20.0", **common},
    ]
    new = {**old[0], "failed": "0"}
    rows = tool.merge(old, [new])
    assert rows == [old[1], new]

    document = tmp_path / "versions.md"
    document.write_text(f"a\n{tool.BEGIN}\nold\n{tool.END}\nb\n")
    tool.write_table(rows, document)
    lines = document.read_text().splitlines()
    assert lines[0] == "a" and lines[-1] == "b" and "old" not in lines
    assert lines[-3] == "| 3.13.0 | 2.20.0 | 3 | all | 4 | 0 | 3 | 2026-01-01 |"
