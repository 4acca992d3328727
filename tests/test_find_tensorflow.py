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
    version, cuda, library, *_ = script.find().split(";")
    assert version == tf.__version__ and library.endswith("libtensorflow_framework.so.2")
    assert cuda == str(tf.test.is_built_with_cuda()).upper()


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
    assert f'pip install "{name}>=' in load().not_found()
