"""`python -m fastw2v.distribute`, with programs that need no TensorFlow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from problems import launcher, run_processes, run_python

# Prints its rank and pid, and goes on by the lines of a test.
BEGIN = """\
import json, os, signal, sys, time
config = json.loads(os.environ["TF_CONFIG"])
rank = config["task"]["index"]
"""


@pytest.fixture
def program(tmp_path):
    def write(lines):
        path = tmp_path / "program.py"
        path.write_text(BEGIN + textwrap.dedent(lines))
        return path

    return write


def hurried(*arguments):
    return subprocess.Popen(
        [*launcher(patience=0.3), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_ends(pid):
    end = time.monotonic() + 10
    while is_there(pid):
        assert time.monotonic() < end, f"{pid} goes on"
        time.sleep(0.02)


def test_processes_get_their_config_and_arguments(program):
    path = program("""
        print(json.dumps([config, os.environ["TF_NUM_INTRAOP_THREADS"], sys.argv[1:]]))
        print("no end of line", end="", file=sys.stderr)
    """)
    finished = run_processes(3, "--threads", "2", path, "-n", "x y", TF_CONFIG="{}")
    assert finished.returncode == 0
    lines = sorted(finished.stdout.splitlines())
    assert [line[:4] for line in lines] == ["[0] ", "[1] ", "[2] "]
    values = [json.loads(line[4:]) for line in lines]
    addresses = values[0][0]["cluster"]["worker"]
    assert len(set(addresses)) == 3 and all(each.startswith("127.0.0.1:") for each in addresses)
    for rank, (config, threads, arguments) in enumerate(values):
        assert config["cluster"] == {"worker": addresses}
        assert config["task"] == {"type": "worker", "index": rank}
        assert (threads, arguments) == ("2", ["-n", "x y"])
    assert sorted(finished.stderr.splitlines()) == [f"[{rank}] no end of line" for rank in range(3)]


def test_a_module_and_the_processors(program):
    path = program('print(os.environ["TF_NUM_INTRAOP_THREADS"])')
    paths = os.pathsep.join([str(path.parent), *filter(None, sys.path)])
    finished = run_processes(2, "-m", "program", PYTHONPATH=paths)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert sorted(finished.stdout.splitlines()) == [f"[{rank}] {threads}" for rank in range(2)]


def test_a_command_and_a_directory(program):
    echo = run_processes(2, "echo", "x y")
    assert sorted(echo.stdout.splitlines()) == ["[0] x y", "[1] x y"], echo.stderr
    path = program("print(rank)")
    path.rename(path.with_name("__main__.py"))
    assert sorted(run_processes(2, path.parent).stdout.splitlines()) == ["[0] 0", "[1] 1"]


def test_gpus_are_shared_out(program):
    path = program('print(os.environ["CUDA_VISIBLE_DEVICES"])')
    finished = run_processes(2, path, CUDA_VISIBLE_DEVICES="4,5,6,7")
    assert sorted(finished.stdout.splitlines()) == ["[0] 4,5", "[1] 6,7"]
    finished = run_processes(2, path, CUDA_VISIBLE_DEVICES="-1")
    assert sorted(finished.stdout.splitlines()) == ["[0] -1", "[1] -1"]
    finished = run_processes(2, path, CUDA_VISIBLE_DEVICES="0,1,2")
    assert finished.returncode == 2 and "lists 3 GPUs, which 2 processes" in finished.stderr


def test_one_that_fails_ends_all(program):
    """Also one that does not listen to SIGTERM, and the children of all."""
    path = program("""
        import subprocess
        if rank == 1:
            sys.exit(7)
        signal.signal(signal.SIGTERM, lambda *_: print("not yet", flush=True))
        child = subprocess.Popen(["sleep", "100"])
        print("pids", os.getpid(), child.pid, flush=True)
        while True:
            time.sleep(0.01)
    """)
    running = hurried("-n", 3, path)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 7
    assert errors.endswith("process 1 ended with status 7; the others are ended\n")
    pids = [pid for line in output.splitlines() if "pids" in line for pid in line.split()[2:]]
    assert len(pids) == 4 and output.count("not yet") == 2
    for pid in pids:
        assert_ends(pid)


def test_ctrl_c_goes_to_all(program):
    path = program("""
        try:
            print("ready", flush=True)
            time.sleep(100)
        except KeyboardInterrupt:
            print("interrupted", rank, flush=True)
    """)
    running = hurried("-n", 2, path)
    for _ in range(2):
        assert "ready" in running.stdout.readline()
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert sorted(output.splitlines()) == ["[0] interrupted 0", "[1] interrupted 1"]


def test_no_process_survives_the_launcher(program):
    running = hurried("-n", 2, program("print(os.getpid(), flush=True); time.sleep(100)"))
    pids = [running.stdout.readline().split()[1] for _ in range(2)]
    running.kill()
    running.communicate(timeout=60)
    for pid in pids:
        assert_ends(pid)


def test_different_shapes_are_explained(program):
    path = program("""
        print("Shape mismatch in the collective instance 3", file=sys.stderr)
        sys.exit(1)
    """)
    running = hurried("-n", 2, path)
    assert "replicas came with batches of different sizes" in running.communicate(timeout=60)[1]


def test_bad_arguments():
    for number, program, words in (
        (0, "program.py", "'0' is not an integer above 0"),
        (2, "no_such.py", "no_such.py is neither a file nor a command"),
    ):
        finished = run_processes(number, program)
        assert finished.returncode == 2 and words in finished.stderr


def test_the_launcher_needs_no_tensorflow():
    run_python("import sys, fastw2v.distribute.launcher; assert 'tensorflow' not in sys.modules")
