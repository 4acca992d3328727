"""Programs run by the doctor do what they do without it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fastw2v
from fastw2v.doctor.findings.kinds import KINDS

PROGRAMS = Path(__file__).parent / "programs"
PACKAGE = Path(fastw2v.__file__).parent
DOCTOR = [sys.executable, "-m", "fastw2v.doctor"]
COMMAND = [sys.executable, "-m", "fastw2v.cli", "doctor"]


def run(command, directory, package=PACKAGE.parent, **options):
    """Exit status, output and errors of a command."""
    # oneDNN, which is on where the processor has AVX-512, says so on stderr at any log level.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    environment = {**os.environ, **quiet, "PYTHONPATH": str(package)}
    finished = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        # Tests may run in the background of a shell that has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )
    return finished.returncode, finished.stdout, finished.stderr


def assert_same(arguments, directory, command=DOCTOR, **options):
    """Checks that a program does the same under the doctor, and returns what it does."""
    expected = run([sys.executable, *arguments], directory, **options)
    assert run([*command, *arguments], directory, **options) == expected
    return expected


BEHAVIORS = {
    "the module __main__": """
        import sys
        print(sys.argv, sys.path[0], __file__, __name__, __package__, __doc__)
        print(sorted(globals()), type(__loader__), type(__builtins__), __cached__)
        print(__spec__ and (__spec__.name, __spec__.origin))
        print(sys.modules["__main__"].__dict__ is globals(), "tensorflow" in sys.modules)
    """,
    "standard input": """
        import sys
        print(sys.stdin.read()[::-1], input.__name__)
    """,
    "modules beside the script": """
        import beside
        print(beside.NAME)
    """,
    "an exit status": "raise SystemExit(7)",
    "a last word": "import sys; sys.exit('that was all')",
    "a bare exit": "import sys; print('out', flush=True); sys.exit()",
    "leaving without cleaning up": """
        import os
        print("half a line", end="", flush=True)
        os._exit(5)
    """,
    "something at exit": """
        import atexit
        atexit.register(lambda: print("last", name))
        name = "globals are still there"
        print("first")
    """,
    "an exception": """
        def divide(number):
            return 1 / number
        print("before")
        divide(0)
    """,
    "an exception with a cause and a context": """
        def fail():
            try:
                {}["key"]
            except KeyError as error:
                raise ValueError("no such key") from error
        try:
            fail()
        except ValueError:
            raise OSError(2, "gone", "file")
    """,
    "a value error, which commands of ours catch": "raise ValueError('mine')",
    "a deep recursion": """
        def descend(depth):
            return descend(depth - 1) if depth else 1 / 0
        descend(500)
    """,
    "a syntax error": "print('never')\nif True print(1)",
    "an exception hook": """
        import sys
        def hook(kind, value, traceback):
            names = []
            while traceback:
                names.append(traceback.tb_frame.f_code.co_name)
                traceback = traceback.tb_next
            print("hook", kind, value, names)
        sys.excepthook = hook
        def fail():
            raise ValueError("mine")
        fail()
    """,
    "Ctrl-C": """
        import os, signal, time
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    """,
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "processes": """
        import multiprocessing
        def square(number):
            return number * number
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(square, [1, 2, 3]))
    """,
    "pickles": """
        import pickle
        class Thing:
            pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
    """,
    "a warning": "import warnings; warnings.warn('mind', UserWarning)",
}


@pytest.fixture
def program(tmp_path, request):
    lines = BEHAVIORS[request.param].splitlines()
    path = tmp_path / "some where" / "program.py"
    path.parent.mkdir()
    path.write_text("\n".join(line.removeprefix(" " * 8) for line in lines) + "\n")
    (path.parent / "beside.py").write_text("NAME = 'a module beside the script'\n")
    return path


@pytest.mark.parametrize("program", BEHAVIORS, indirect=True)
def test_a_script_is_itself(program, tmp_path):
    arguments = ["some where/program.py", "-m", "--help", "argument"]
    assert_same(arguments, tmp_path, input="typed")


@pytest.mark.parametrize("program", BEHAVIORS, indirect=True)
def test_a_module_is_itself(program):
    assert_same(["-m", "program", "-m", "x"], program.parent, input="typed")


def test_absolute_path_and_link(tmp_path):
    (tmp_path / "there").mkdir()
    path = tmp_path / "there" / "program.py"
    path.write_text("import sys; print(sys.argv, sys.path[0], __file__)")
    (tmp_path / "link.py").symlink_to(path)
    assert_same([str(path)], tmp_path)
    assert_same(["link.py"], tmp_path)


def test_packages_directories_and_zip_files(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("print('package')")
    (package / "inner.py").write_text("from . import __name__ as name; print(name, __spec__.name)")
    (package / "__main__.py").write_text("import sys; print(sys.argv, sys.path[0], __file__); 1/0")
    assert_same(["-m", "package", "a"], tmp_path)
    assert_same(["-m", "package.inner"], tmp_path)
    assert_same(["package", "a"], tmp_path)
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.write(package / "__main__.py", "__main__.py")
    assert_same(["program.zip", "a"], tmp_path)
    assert_same(["-m", "package.nothing"], tmp_path)
    (tmp_path / "empty").mkdir()
    assert_same(["empty"], tmp_path)


def test_the_interpreter_options_count(tmp_path):
    (tmp_path / "program.py").write_text("assert False; import sys; print(sys.flags.optimize)")
    expected = run([sys.executable, "-O", "program.py"], tmp_path)
    assert expected[:2] == (0, "1\n")
    command = [sys.executable, "-O", "-m", "fastw2v.doctor", "program.py"]
    assert run(command, tmp_path) == expected


@pytest.mark.parametrize("command", [DOCTOR, COMMAND], ids=["-m", "command"])
def test_the_command_itself(command, tmp_path):
    status, out, err = run([*command, "--help"], tmp_path)
    assert (status, err) == (0, "")
    assert out.startswith("usage: ") and "-m MODULE" in out
    for arguments, problem in (
        ([], "no program to run"),
        (["-m"], "no program to run"),
        (["--color", "x.py"], "unknown option --color"),
        (["nowhere.py"], "nowhere.py: No such file or directory"),
    ):
        status, out, err = run([*command, *arguments], tmp_path)
        assert (status, out) == (2, "")
        assert problem in err and err.count("\n") == 1


def test_the_command_passes_everything_through(tmp_path):
    (tmp_path / "program.py").write_text("import sys; print(sys.argv); raise ValueError('mine')")
    assert_same(["program.py", "--help", "-m"], tmp_path, COMMAND)


def tidy(errors):
    """Without what differs from run to run: addresses and names of AutoGraph's files."""
    return re.sub(r"/\S*__autograph_generated_file\w+|0x\w+", "", errors)


@pytest.mark.parametrize(
    "name, status",
    [("rounding_fit", 1), ("no_gradient_registered_function", 1), ("unused_function", 0)],
)
def test_a_program_that_trains(name, status, tmp_path):
    """It says all that it says alone; the report comes besides."""
    arguments = [str(PROGRAMS / f"{name}.py")]
    alone = run([sys.executable, *arguments], tmp_path)
    watched = run([*DOCTOR, *arguments], tmp_path)
    assert watched[0] == alone[0] == status
    assert bool(re.search("Traceback|Gradients do not exist", alone[2]))
    if status:
        assert watched[1] == alone[1]
        assert tidy(watched[2]).endswith(tidy(alone[2]))
    said = watched[2]
    assert "fastw2v/doctor" not in said.replace("fastw2v.doctor", "")
    assert f"{name}.py" in said and KINDS[name.rsplit("_", 1)[0]].title in said


@pytest.mark.parametrize("imports", ["import keras", "from tensorflow import keras"])
def test_whatever_is_imported_first(imports, tmp_path):
    """Keras imports TensorFlow, or TensorFlow gives Keras later."""
    (tmp_path / "program.py").write_text(
        f"{imports}\n"
        "optimizer = keras.optimizers.SGD(0.1)\n"
        "weight = keras.Variable(1.5)\n"
        "optimizer.apply_gradients([(None, weight)])\n"
    )
    alone = run([sys.executable, "program.py"], tmp_path)
    watched = run([*DOCTOR, "program.py"], tmp_path)
    assert alone[:2] == watched[:2] == (1, "")
    assert watched[2].endswith(alone[2])
    assert "program.py:4" in watched[2] and KINDS["undecided"].title in watched[2]


STEP = """\
import tensorflow as tf
x = tf.Variable([1.5])
with tf.GradientTape() as tape:
    y = tf.{function}(x)
print(tape.gradient(y, x) is None)
"""


@pytest.mark.parametrize(
    "program, said",
    [
        (STEP.format(function="square"), "nothing wrong; 1 variable with a gradient"),
        (STEP.format(function="square") + "raise SystemExit(0)", "nothing wrong; 1 variable"),
        ("import tensorflow as tf", "no gradient was taken, so there was none to look at"),
    ],
)
def test_a_program_with_nothing_wrong(program, said, tmp_path):
    """It is told that it was looked at."""
    (tmp_path / "program.py").write_text(program)
    status, _, err = run([*DOCTOR, "program.py"], tmp_path)
    assert status == 0
    assert err.startswith(f"fastw2v.doctor: {said}") and err.count("\n") == 1


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_standard_error_that_cannot_be_written(redirection, tmp_path):
    """The program goes on and ends as it would alone, the interpreter's buffers included."""
    (tmp_path / "program.py").write_text(STEP.format(function="round") + "print('end')")
    command = " ".join(["env -u PYTHONUNBUFFERED", *DOCTOR, "program.py", redirection])
    assert run(["sh", "-c", command], tmp_path) == (0, "True\nend\n", "")


def test_an_exception_in_a_thread(tmp_path):
    """It is shown without frames of ours, and explained."""
    (tmp_path / "program.py").write_text(
        "import threading\n"
        "import tensorflow as tf\n"
        "def work():\n"
        "    x = tf.Variable([1.5])\n"
        "    with tf.GradientTape() as tape:\n"
        "        y = tf.unique(x)[0]\n"
        "    tape.gradient(y, x)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    alone = run([sys.executable, "program.py"], tmp_path)
    watched = run([*DOCTOR, "program.py"], tmp_path)
    assert alone[:2] == watched[:2] == (0, "")
    assert alone[2].startswith("Exception in thread") and watched[2].endswith(alone[2])
    assert KINDS["no_gradient_registered"].title in watched[2]


def test_without_eager_execution(tmp_path):
    """A program of TensorFlow 1, and one that turns to graphs after TensorFlow was imported."""
    (tmp_path / "program.py").write_text(
        "import tensorflow.compat.v1 as tf\n"
        "tf.disable_v2_behavior()\n"
        "weights = tf.get_variable('weights', [3], initializer=tf.ones_initializer())\n"
        "bias = tf.get_variable('bias', [3], initializer=tf.ones_initializer())\n"
        "loss = tf.reduce_sum(tf.floor(weights) + bias)\n"
        "step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)\n"
        "with tf.Session() as session:\n"
        "    session.run(tf.global_variables_initializer())\n"
        "    session.run(step)\n"
        "    print(session.run([weights, bias]))\n"
    )
    alone = run([sys.executable, "program.py"], tmp_path)
    status, out, err = run([*DOCTOR, "program.py"], tmp_path)
    assert (status, out) == alone[:2] == (0, alone[1])
    assert "program.py:5" in err and KINDS["rounding"].title in err


def test_without_the_compiled_library(tmp_path):
    """Nothing but TensorFlow is needed, and the user is not told of what he does not use."""
    shutil.copytree(
        PACKAGE, tmp_path / "lib" / "fastw2v", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    (tmp_path / "program.py").write_text(
        "import tensorflow as tf\n"
        "x = tf.Variable(1.5)\n"
        "with tf.GradientTape() as tape:\n"
        "    y = tf.round(x)\n"
        "print(tape.gradient(y, x))\n"
    )
    command = [*DOCTOR, "program.py"]
    status, out, err = run(command, tmp_path, package=tmp_path / "lib")
    assert (status, out) == (0, "None\n")
    assert "program.py:4" in err and KINDS["rounding"].title in err
    assert "RuntimeWarning" not in err
