"""Installs wheels into fresh environments and uses them there as their users do.

Usage: check_wheel.py [WHEEL...] [--tensorflow 2.20]... [--unsupported 2.19 | none]

Of each wheel (those of dist by default) the tag, the op libraries and the size are printed, and
what of the machine that built it stands in its binaries is an error. Then, with the Python that it
is for and no compiler on PATH, it is used beside each supported TensorFlow, beside one that none of
its op libraries fits, and without TensorFlow, two of these at a time. The interpreters are those on
PATH and those of pyenv. Ends with status 1 where something fails.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = runpy.run_path(str(ROOT / "fastw2v" / "_core" / "supported.py"))
# An absolute name of a source, an object or a library.
BUILD_PATH = re.compile(
    rb"(?<![\w./$-])/[\w.+-]+/[\w.+/-]*\.(?:cc|cpp|cu|h|hpp|inc|o|a|py|so(?:\.\d+)*)\b"
)
COMPILERS = ("c++", "cc", "clang", "cmake", "g++", "gcc", "ninja")

WITH_OPS = """
import keras
import numpy as np
import tensorflow as tf
import fastw2v

shapes = [50, 8], [40, 8], [40]
tables = [tf.Variable(tf.random.stateless_uniform(shape, (1, 2))) for shape in shapes]
ids, labels = tf.constant([1, 2, 3]), tf.constant([4, 5, 6])
loss = fastw2v.softmax_loss(*tables, ids, labels, reduction="mean")
logits = tf.gather(tables[0], ids) @ tf.transpose(tables[1]) + tables[2]
expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
np.testing.assert_allclose(loss, tf.reduce_mean(expected), rtol=1e-5)

optimizer = fastw2v.optimizers.Adagrad(0.5)
optimizer.build(tables)
for _ in range(30):
    last = fastw2v.train_step(optimizer, fastw2v.softmax_loss, *tables, ids, labels)
assert float(tf.reduce_mean(last)) < float(loss) / 2, (last, loss)

head = fastw2v.keras.LinearCrossEntropy(40)
features, targets = keras.Input([8]), keras.Input([], dtype="int32")
model = keras.Model([features, targets], head(features, targets))
model.compile("adam", loss=lambda unused, losses: losses)
x, y = np.random.default_rng(1).normal(size=(64, 8)).astype("f"), np.arange(64) % 40
history = model.fit([x, y], np.zeros(64), epochs=20, verbose=0).history["loss"]
assert history[-1] < history[0], history

sentences = [["red", "green", "blue"], ["one", "two", "three"]] * 200
vectors = fastw2v.Word2Vec(sentences, vector_size=16, sg=1, epochs=10, sample=0).wv
assert {word for word, _ in vectors.most_similar("red", topn=2)} == {"green", "blue"}
print("a loss, training steps, a fit and a training of word vectors")
"""

DOCTOR = """
import tensorflow as tf
weight = tf.Variable(1.0)
with tf.GradientTape() as tape:
    loss = tf.cast(tf.cast(weight, tf.int32), tf.float32)
tape.gradient(loss, weight)
"""

# What needs no op.
WITHOUT_OPS = """
import fastw2v

vectors = fastw2v.KeyedVectors(vector_size=2)
vectors.add_vectors(["north", "up", "east"], [[0, 1], [0.1, 1], [1, 0]])
assert vectors.most_similar("north", topn=1)[0][0] == "up"
vectors.save("vectors.bin")
assert fastw2v.KeyedVectors.load("vectors.bin").index_to_key == ["north", "up", "east"]
for name in ("softmax_loss", "Word2Vec", "keras", "optimizers"):
    try:
        getattr(fastw2v, name)
    except ImportError as error:
        message = str(error)
        assert "pip install" in message and "\\n" not in message, message
    else:
        raise AssertionError(name)
print(message)
"""


class Environment:
    """A fresh virtual environment, whose programs find no compiler."""

    def __init__(self, directory: Path, interpreter: str) -> None:
        subprocess.run([interpreter, "-m", "venv", str(directory / "venv")], check=True)
        self._folder = directory
        self._bin = directory / "venv" / "bin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._variables = {**kept, "PATH": str(self._bin), "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._variables |= {"TF_ENABLE_ONEDNN_OPTS": "0", "HOME": str(directory)}
        for name in COMPILERS:
            found = shutil.which(name, path=self._variables["PATH"])
            assert found is None, found

    def install(self, *requirements: str) -> None:
        command = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
        variables = {**self._variables, "HOME": os.environ.get("HOME", "")}  # for pip's cache
        done = subprocess.run(
            [str(self._bin / "python"), *command, *requirements],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"error: pip install {requirements} failed:\n{done.stdout}")

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def run(self, program: str, *arguments: str) -> str:
        """The output of a command. Raises SystemExit with it where the command fails."""
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self._folder,
            env=self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise SystemExit(f"error: {program} {' '.join(arguments)[:60]} failed:\n{done.stdout}")
        return done.stdout

    def expect(self, sentence: str, program: str, *arguments: str) -> str:
        """The output, in which a sentence has to stand."""
        output = self.run(program, *arguments)
        if not re.search(sentence, output):
            raise SystemExit(f"error: {program} did not say {sentence!r}, but:\n{output}")
        return output


def interpreter_for(tag: str) -> str | None:
    """A working interpreter for a tag such as cp311."""
    name = f"python{tag[2]}.{tag[3:]}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [sys.executable, shutil.which(name), *sorted(pyenv.glob(f"versions/*/bin/{name}"))]
    question = "import sys; print('cp%d%d' % sys.version_info[:2])"
    for place in filter(None, map(str, filter(None, places))):
        done = subprocess.run([place, "-c", question], capture_output=True, text=True)
        if done.stdout.strip() == tag:
            return place
    return None


def inspect(wheel: Path) -> Iterator[str]:
    """What is wrong with the contents of a wheel."""
    print(f"{wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB")
    if "manylinux" not in wheel.name:
        yield f"{wheel.name} has no tag of manylinux: auditwheel did not repair it"
    with zipfile.ZipFile(wheel) as archive:
        binaries = [name for name in archive.namelist() if ".so" in Path(name).name]
        for name in binaries:
            contents = archive.read(name)
            print(f"  {name}, {len(contents) / 1e6:.1f} MB")
            own = re.compile(re.escape(str(ROOT).encode()))
            paths = {*BUILD_PATH.findall(contents), *own.findall(contents)}
            for path in sorted(paths):
                yield f"{name} in {wheel.name} holds a path of the build, {path.decode()}"
        for minor in SUPPORTED["TENSORFLOW"]:
            wanted = f"fastw2v/_ops_tf{minor.replace('.', '')}.so"
            if wanted not in binaries:
                yield f"{wheel.name} has no {wanted}"


def check_with_ops(environment: Environment, minor: str, begin: float) -> Iterator[str]:
    """Uses all of the package; yields what is worth to be printed."""
    environment.write("text.txt", "red green blue\none two three\n" * 300)
    environment.run("fastw2v", "train", "text.txt", "--output", "words.bin", "--epochs", "5")
    yield f"first vectors {time.monotonic() - begin:.0f} s after an empty folder"
    environment.expect("green|blue", "fastw2v", "neighbors", "words.bin", "red")
    library = rf"op library +_ops_tf{minor.replace('.', '')}\.so"
    environment.expect(library, "fastw2v", "info")
    done = environment.run("python", "-W", "error::RuntimeWarning", "-c", WITH_OPS)
    yield done.splitlines()[-1]
    environment.write("broken.py", DOCTOR)
    environment.expect("cast to integers", "fastw2v", "doctor", "broken.py")


def check_without_ops(environment: Environment, has_tensorflow: bool) -> Iterator[str]:
    """Uses what needs no op; yields the message of what needs one."""
    sentence = "but TensorFlow .* is installed" if has_tensorflow else "fastw2v needs TensorFlow"
    yield environment.expect(sentence, "python", "-c", WITHOUT_OPS).splitlines()[-1]
    environment.expect("up", "fastw2v", "neighbors", "vectors.bin", "north")
    environment.expect(sentence, "fastw2v", "info")
    if has_tensorflow:
        environment.write("broken.py", DOCTOR)
        environment.expect("cast to integers", "fastw2v", "doctor", "broken.py")


def use(wheel: Path, interpreter: str, tensorflow: str) -> None:
    """Installs and uses a wheel beside a minor version of TensorFlow, or "none"; tells of it."""
    begin = time.monotonic()
    requirements = [str(wheel)]
    if tensorflow != "none":
        requirements.append(f"{SUPPORTED['distribution']()}=={tensorflow}.*")
    with tempfile.TemporaryDirectory(prefix="check-wheel-") as directory:
        lines = [f"{wheel.name.split('-')[2]}, TensorFlow {tensorflow}"]
        environment = Environment(Path(directory), interpreter)
        environment.install(*requirements)
        installed = time.monotonic()
        if tensorflow in SUPPORTED["TENSORFLOW"]:
            lines += check_with_ops(environment, tensorflow, begin)
        else:
            lines += check_without_ops(environment, tensorflow != "none")
    end = time.monotonic()
    lines.append(f"installed in {installed - begin:.0f} s, used in {end - installed:.0f} s")
    print("\n  ".join(lines), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Installs and uses wheels in fresh environments.")
    parser.add_argument("wheels", metavar="WHEEL", nargs="*", type=Path)
    parser.add_argument(
        "--tensorflow", action="append", metavar="MINOR", help="this one (several times: these)"
    )
    parser.add_argument(
        "--unsupported",
        default="2.19",
        metavar="MINOR",
        help="one that is not supported, for a Python before 3.13, or none (default: %(default)s)",
    )
    options = parser.parse_args()
    wheels = options.wheels or sorted((ROOT / "dist").glob("*.whl"))
    if not wheels:
        sys.exit("error: there is no wheel in dist: run make wheel")
    problems = [problem for wheel in wheels for problem in inspect(wheel)]
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))
    cases = []
    for wheel in wheels:
        tag = wheel.name.split("-")[2]
        interpreter = interpreter_for(tag)
        if interpreter is None:
            sys.exit(f"error: {wheel.name} needs a Python that is not here, {tag}")
        others = ["none"]
        # TensorFlow 2.19 has no packages for later ones.
        if options.unsupported != "none" and int(tag[3:]) <= 12:
            others.append(options.unsupported)
        for tensorflow in (*(options.tensorflow or SUPPORTED["TENSORFLOW"]), *others):
            cases.append((wheel.resolve(), interpreter, tensorflow))
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(use, *case) for case in cases]:
            done.result()
    print("all passed")


if __name__ == "__main__":
    main()
