"""What the build says of the TensorFlow that it finds, or does not find."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import tensorflow as tf

SCRIPT = Path(__file__).parent.parent / "cmake" / "find_tensorflow.py"


def load():
    spec = importlib.util.spec_from_file_location("find_tensorflow", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script():
    return load()


def test_the_installed_one(script, monkeypatch):
    monkeypatch.setenv("FASTW2V_TENSORFLOW_DIR", str(Path(tf.__file__).parent.parent))
    minor, version, cuda, directory, library, *include = script.find().split("|")
    assert version == tf.__version__ and version.startswith(f"{minor}.")
    assert Path(library) == Path(directory, "tensorflow", "libtensorflow_framework.so.2")
    assert cuda == str(tf.test.is_built_with_cuda()).upper()
    assert all(Path(each).is_dir() for each in include)


def install(directory, version):
    """What is looked at of a TensorFlow."""
    library = directory / "tensorflow" / "libtensorflow_framework.so.2"
    library.parent.mkdir(parents=True)
    library.touch()
    metadata = directory / f"tensorflow_cpu-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: tensorflow-cpu\nVersion: {version}\n")
    (metadata / "RECORD").write_text("tensorflow/libtensorflow_framework.so.2,,\n")
    return directory


def test_several(script, monkeypatch, tmp_path):
    old, new = install(tmp_path / "a", "2.20.0"), install(tmp_path / "b", "2.21.0rc1")
    monkeypatch.setenv("FASTW2V_TENSORFLOW_DIR", f"{old}:{new}")
    lines = [line.split("|") for line in script.find().splitlines()]
    assert [line[:2] for line in lines] == [["2.20", "2.20.0"], ["2.21", "2.21.0rc1"]]
    assert [line[3] for line in lines] == [str(old), str(new)]


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        (("2.21.0", "2.21.1"), "names two directories with TensorFlow 2.21, .*a and .*b: leave"),
        (("2.20.0", "2.9.3"), "TensorFlow 2.9.3 in .*b is older than 2.20"),
    ],
)
def test_several_that_do_not_do(script, monkeypatch, tmp_path, versions, sentence):
    folders = [install(tmp_path / name, each) for name, each in zip("ab", versions, strict=True)]
    monkeypatch.setenv("FASTW2V_TENSORFLOW_DIR", ":".join(map(str, folders)))
    with pytest.raises(SystemExit, match=sentence):
        script.find()


def test_a_later_one_is_warned_of(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FASTW2V_TENSORFLOW_DIR", str(install(tmp_path / "a", "2.100.0")))
    assert script.find().startswith("2.100|2.100.0|FALSE|")
    assert "2.100.0 is newer than" in capsys.readouterr().err


@pytest.mark.parametrize("is_activated", [True, False], ids=["activated", ".venv"])
def test_the_environment_that_a_build_is_for(script, monkeypatch, tmp_path, is_activated):
    """uv and `python -m build` do not name it; the one that they build in has no TensorFlow."""
    monkeypatch.delenv("FASTW2V_TENSORFLOW_DIR", raising=False)
    build = tmp_path / "builds-v0" / ".tmpX"
    packages = Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    monkeypatch.setattr(sys, "prefix", str(build))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(build / packages))
    monkeypatch.setattr("sysconfig.get_paths", lambda: dict.fromkeys(("purelib", "platlib"), ""))
    monkeypatch.setattr("site.getsitepackages", lambda: [])
    monkeypatch.setattr("site.PREFIXES", [str(build)])
    monkeypatch.setattr(sys, "path", [])
    environment = tmp_path / "project" / ".venv"
    installed = install(environment / packages, "2.21.0")
    (environment / "pyvenv.cfg").touch()
    monkeypatch.setenv("PATH", f"/usr/bin:{environment / 'bin'}" if is_activated else "/usr/bin")
    monkeypatch.setenv("PWD", str(tmp_path if is_activated else tmp_path / "project" / "source"))
    assert script.find().split("|")[3] == str(installed)

    monkeypatch.setattr(sys, "prefix", "/home/a/environment")  # of a user: no other is looked at
    with pytest.raises(SystemExit, match="TensorFlow was not found"):
        script.find()


def test_one_with_cuda(script, tmp_path):
    file = tmp_path / script.BUILD_INFO
    file.parent.mkdir(parents=True)
    file.write_text("build_info = OrderedDict([('cuda_version', '12.5'), ('is_cuda_build', True)])")
    assert script.is_built_with_cuda(tmp_path)


@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        ("/home/a/.venv", "TensorFlow was not found in .*: run .* -m pip install .*tensorflow"),
        (
            "/home/a/.cache/uv/builds-v0/.tmpX",
            "an environment of its own, .*FASTW2V_TENSORFLOW_DIR",
        ),
        ("/tmp/build-env-1a2b", "an environment of its own, .*FASTW2V_TENSORFLOW_DIR"),
    ],
)
def test_where_there_is_none(script, monkeypatch, prefix, sentence):
    monkeypatch.delenv("FASTW2V_TENSORFLOW_DIR", raising=False)
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(script, "candidate_directories", lambda: [])
    with pytest.raises(SystemExit, match=sentence):
        script.find()


@pytest.mark.parametrize(
    ("machine", "name"), [("x86_64", "tensorflow-cpu"), ("aarch64", "tensorflow")]
)
def test_the_one_to_install_has_wheels_for_the_processor(monkeypatch, machine, name):
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert f'pip install "{name}>=' in load().not_found("")
