"""The programs for a machine with a GPU, where there is none: tests that hang or die, and kernels
whose results are wrong. Those that need no PyTorch are run in kernels/cuda/test_programs.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def load(monkeypatch):
    """Imports a program with the modules beside it."""

    def import_(path: str) -> ModuleType:
        file = ROOT / path
        monkeypatch.syspath_prepend(str(file.parent))
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, file.stem, module)
        spec.loader.exec_module(module)
        return module

    return import_


# ---- tools/gpu/programs.py


def test_all_that_a_program_started_is_ended(load, tmp_path):
    note = tmp_path / "process"
    child = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert load("tools/gpu/programs.py").run([sys.executable, "-c", program], 4) is None
    process = note.read_text()
    for _ in range(50):  # the system takes a moment to forget it
        state = subprocess.run(["ps", "-o", "stat=", "-p", process], capture_output=True, text=True)
        if state.stdout.strip() in ("", "Z"):
            break
        time.sleep(0.1)
    assert state.stdout.strip() in ("", "Z")


FILES = {
    "test_good.py": "def test_a(): pass\ndef test_b(): print('noise')",
    "test_wrong.py": "def test_a(): assert 1 == 2\ndef test_b(): pass",
    "test_hangs.py": "import time\ndef test_a(): pass\ndef test_b(): time.sleep(600)",
    "test_dies.py": "import os\ndef test_a(): pass\ndef test_b(): os._exit(7)",
    "test_broken.py": "import nothing_of_this_name",
    "test_none.py": "def helper(): pass",
}


def test_each_file_is_run_whatever_becomes_of_the_others(load, tmp_path):
    programs = load("tools/gpu/programs.py")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = [tmp_path / name for name in FILES]
    command = [*programs.pytest_command(600), f"--rootdir={tmp_path}"]
    results = {}
    end = time.monotonic() + 12
    for result in programs.run_files(files, command, end, {}, tmp_path / "logs", at_once=6):
        results[result.name] = result
    assert set(results) == set(FILES)
    assert {name for name, result in results.items() if result.good} == {
        "test_good.py",
        "test_none.py",
    }
    assert results["test_good.py"].passed == 2
    assert results["test_wrong.py"].failed == ["test_a"]
    assert results["test_wrong.py"].passed == 1
    assert results["test_hangs.py"].status is None
    assert results["test_dies.py"].status == 7
    for name in ("test_hangs.py", "test_dies.py"):
        assert (results[name].passed, results[name].unfinished) == (1, "test_b"), name
        assert "hung or died in test_b" in results[name].line()
    assert "status 2" in results["test_broken.py"].line()
    assert "nothing_of_this_name" in results["test_broken.py"].output


def test_files_without_time_are_named(load, tmp_path):
    programs = load("tools/gpu/programs.py")
    results = programs.run_files([tmp_path / "test_a.py"], ["false"], 0, {}, tmp_path)
    assert [result.line() for result in results] == ["FAILED  test_a.py  0 s  0 passed; was ended"]


def test_outcomes_beside_what_tests_print(load):
    printed = """\
tests/test_a.py::test_one[a b-float32] PASSED [ 10%]
tests/test_a.py::test_two said something
and more
FAILED [ 20%]
tests/test_a.py::test_three SKIPPED (there is no GPU) [ 30%]
tests/test_a.py::test_four
+++++++++ Timeout +++++++++
"""
    read = load("tools/gpu/programs.py").read_outcomes
    assert read(printed) == (1, ["test_two said something"], "test_four")


# ---- tools/gpu/check.py


def test_the_check_says_what_it_lacks():
    command = [sys.executable, ROOT / "tools" / "gpu" / "check.py"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    environment.pop("FASTW2V_KERNELS", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "make gpu-check cannot run here: cmake was not found" in done.stderr


def test_a_stage_that_is_none(load, capsys):
    with pytest.raises(SystemExit):
        load("tools/gpu/check.py").main("speed")
    assert "STAGE = speed is not one of tests, context, " in capsys.readouterr().err


def test_the_files_of_hopper_are_told_from_the_others(load):
    check = load("tools/gpu/check.py")
    hopper, others = check.test_files()
    assert "test_exact_loss_hopper.py" in [file.name for file in hopper]
    assert "test_sampler.py" in [file.name for file in others]
    assert sorted([*hopper, *others]) == sorted(check.TESTS.glob("test_*.py"))


@pytest.fixture
def check(load, monkeypatch, tmp_path):
    """The check with kernels that need not be built, on a machine that has all it needs."""
    module = load("tools/gpu/check.py")
    monkeypatch.setattr(module, "missing", list)
    monkeypatch.setattr(module, "BUILD", tmp_path)
    monkeypatch.setenv("FASTW2V_KERNELS", "kernels.so")
    return module


def test_a_stage_that_fails_does_not_keep_others_from_running(check, monkeypatch, capsys):
    program = check.programs.ROOT / "tools" / "gpu"
    assert program.is_dir()
    fail = [sys.executable, "-c", "raise SystemExit(3)"]
    succeed = [sys.executable, "-c", "import os; assert os.environ['FASTW2V_KERNELS']"]
    stages = {
        "tests": lambda run: run.run("first", fail),
        "context": lambda run: run.run("second", succeed),
    }
    monkeypatch.setattr(check, "STAGES", stages)
    assert check.main("tests", "context") == 1
    printed = capsys.readouterr().out
    assert "== second: status 0" in printed
    assert printed.endswith("== failed:\nfirst (status 3)\n")
    assert check.main("context") == 0
    assert capsys.readouterr().out.endswith("== all passed\n")
    assert check.main("--minutes", "0", "context") == 1
    assert "context (no time was left for it)" in capsys.readouterr().out


def test_sanitizers_that_are_not_installed(check, monkeypatch, capsys):
    monkeypatch.setattr(check.shutil, "which", lambda name: None)
    assert check.main("sanitize") == 1
    assert "compute-sanitizer is not installed" in capsys.readouterr().err


def test_what_became_of_files_is_kept(check, tmp_path):
    results = [
        check.programs.FileResult("test_b.py", 0, 1, 3, [], "", ""),
        check.programs.FileResult("test_a.py", None, 1, 2, ["test_x"], "test_y", ""),
        check.programs.FileResult("test_c.py", 0, 1, 0, [], "", ""),
    ]
    check.write_results(tmp_path, "NVIDIA H200", results)
    assert (tmp_path / "gpu_tests_NVIDIA_H200.csv").read_text() == (
        "file,good,passed,failed\ntest_a.py,no,2,test_x test_y\ntest_b.py,yes,3,\ntest_c.py,no,0,\n"
    )


# ---- tools/write_kernels_page.py


def test_the_page_has_the_kernels_of_the_sources(load, capsys):
    assert load("tools/write_kernels_page.py").main("--check") == 0, capsys.readouterr().out


def test_what_is_said_of_a_kernel(load, tmp_path):
    program = load("tools/write_kernels_page.py")
    found = program.kernels()
    assert found["loss/hopper/exact_forward.cu", "hopper::ForwardKernel"] == program.HOPPER
    assert found["rows/elementwise.cu", "FactorKernel"] == program.PORTABLE
    assert {program.tests_of(file) for file, _ in found} == set(program.TESTS.values())
    (tmp_path / "gpu_tests_GPU_1.csv").write_text(
        "file,good,passed,failed\ntest_elementwise.py,yes,9,\ntest_top_k.py,no,9,test_a\n"
    )
    (tmp_path / "gpu_kernels_GPU_2.csv").write_text("kernel,us_a_step\nFindKernel<float>,1.5\n")
    text = program.page({"FactorKernel"}, tmp_path)
    assert "| `FactorKernel` | `rows/elementwise.cu` | 8.0 to 9.0, PTX | yes | GPU 1 | no |" in text
    assert "| `FindKernel` | `loss/top_k.cu` | 8.0 to 9.0, PTX | no | no | GPU 2 |" in text
    assert program.short("void fastw2v::cuda::(anonymous namespace)::A<float, 1>(int)") == "A"
    assert program.short("fastw2v::cuda::hopper::A(int)") == "hopper::A"
    assert program.listed(text)["rows/elementwise.cu", "FactorKernel"]
    assert not program.listed(text)["rows/elementwise.cu", "FillKernel"]
    assert set(program.listed(text)) == set(found)


# ---- tools/gpu/profile_kernels.py


def test_kernels_are_listed_by_their_time(load):
    program = load("tools/gpu/profile_kernels.py")
    name = "void fastw2v::cuda::hopper::(anonymous namespace)::ForwardKernel<__nv_bfloat16, 4>(int)"
    assert program.short(name) == "hopper::ForwardKernel<__nv_bfloat16, 4>"
    assert program.lines({"A": [1.0, 2.0], "B": [10.0]}, 2) == [
        "         5.0 us    0.5 x  B",
        "         1.5 us    1.0 x  A",
    ]


def test_a_wrong_case_fails_the_profile(load, monkeypatch, capsys, tmp_path):
    program = load("tools/gpu/profile_kernels.py")
    matmul = SimpleNamespace(allow_tf32=True)
    torch = SimpleNamespace(
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=matmul)),
        cuda=SimpleNamespace(empty_cache=lambda: None, get_device_name=lambda number: "GPU 1"),
    )
    monkeypatch.setattr(program.gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(program.gpu, "require_gpu", lambda: torch)
    monkeypatch.setattr(program.gpu, "load_kernels", lambda: None)
    monkeypatch.setattr(program, "product_rate", lambda torch, dtype: 1e15)
    monkeypatch.setattr(program, "profile", lambda torch, step: {"Kernel": [5.0]})
    cases = program.CASES[:2]
    monkeypatch.setattr(program, "CASES", cases)

    def make_step(torch, cuda, case):
        if case == cases[0]:
            raise ValueError("loss is off by 1")

    monkeypatch.setattr(program, "make_step", make_step)
    assert program.main() == 1
    printed = capsys.readouterr().out
    assert f"FAILED: {cases[0]}: loss is off by 1" in printed
    assert f"{cases[1]}: 1 us of kernels a step, floor of the products 1258 us" in printed
    assert (tmp_path / "gpu_kernels_GPU_1.csv").read_text() == (
        "work,dtype,batch,classes,dim,sampled,kernel,calls_a_step,us_a_step\n"
        "exact,bfloat16,8192,100000,256,0,Kernel,0.2,1.0\n"
    )
    monkeypatch.setattr(program, "CASES", cases[1:])
    assert program.main() == 0
    assert program.main("--seconds", "-1") == 0
    assert "no time was left for" in capsys.readouterr().out


def test_one_step_for_another_profiler(load, monkeypatch):
    program = load("tools/gpu/profile_kernels.py")
    done = []
    profiler = SimpleNamespace(start=lambda: done.append("start"), stop=lambda: done.append("stop"))
    torch = SimpleNamespace(
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))),
        cuda=SimpleNamespace(synchronize=lambda: done.append("wait"), profiler=profiler),
    )
    monkeypatch.setattr(program.gpu, "require_gpu", lambda: torch)
    monkeypatch.setattr(program.gpu, "load_kernels", lambda: None)

    def make_step(torch, cuda, case):
        assert (case.dtype, case.dim) == ("bfloat16", 304)
        return done.append

    monkeypatch.setattr(program, "make_step", make_step)
    assert program.main("--one-step", "304") == 0
    assert done == [0, "wait", "start", 1, "wait", "stop"]


# ---- benchmarks/gpu.py


def test_what_is_wrong_with_results(load):
    truth = load("benchmarks/gpu_truth.py")
    good = {"loss": np.array([1.0, 2.0]), "all": np.array([3.0, -1.0])}
    expected = {"loss": np.array([1.0, 2.01]), "all": None}
    assert truth.faults(good, expected, 1e-2) == []
    assert truth.faults(good, expected, 1e-3) == ["loss is off by 0.005 of its largest value"]
    missing = {"loss": np.array([np.nan, 2.0]), "all": np.array([np.nan, np.nan])}
    assert truth.faults(missing, expected, 1e-2) == [
        "1 entries of loss are NaN or were not written",
        "2 entries of all are NaN or were not written",
    ]
    assert truth.faults({"loss": np.array([np.inf, 2.0])}, expected, 1e-2) != []


@pytest.fixture
def benchmark(load, monkeypatch, tmp_path):
    """benchmarks/gpu.py with a device of no time at all."""
    gpu = load("benchmarks/gpu.py")
    torch = SimpleNamespace(
        __version__="0",
        cuda=SimpleNamespace(get_device_name=lambda number: "device", empty_cache=lambda: None),
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=True))),
    )
    monkeypatch.setattr(gpu, "require_gpu", lambda: torch)
    monkeypatch.setattr(gpu, "load_kernels", lambda: None)
    ceilings = gpu.Ceilings({"bfloat16": 1e15, "float32": 1e14}, 3e12, 4e12)
    monkeypatch.setattr(gpu, "measure_ceilings", lambda torch, quick: ceilings)
    arguments = ["gpu.py", "--quick", "--output", str(tmp_path / "gpu.csv"), "--no-compile"]
    monkeypatch.setattr(sys, "argv", arguments)
    return gpu


def test_wrong_results_fail_the_benchmark(benchmark, load, monkeypatch, capsys, tmp_path):
    truth = load("benchmarks/gpu_truth.py")
    asked = []

    def measure(torch, cuda, case, seconds, compiled):
        asked.append(compiled)
        if case.work == "sampled":
            raise truth.WrongResult("step: loss is off by 1 of its largest value")
        return {"step": {benchmark.OURS: [1e-3, 2e-3]}}, {}

    monkeypatch.setattr(benchmark, "measure", measure)
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 1
    assert "loss is off by 1" in capsys.readouterr().out
    assert asked == [False] * 3
    # The other cases are measured.
    assert (tmp_path / "gpu.csv").read_text().count("\n") == 3
    monkeypatch.setattr(benchmark, "QUICK", benchmark.QUICK[:1])
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 0


def test_the_device_is_busy_before_a_call_is_timed(benchmark):
    done = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            done.append("event")

        def elapsed_time(self, other):
            return 2.0

    cuda = SimpleNamespace(
        Event=Event,
        _sleep=lambda clocks: done.append("sleep"),
        synchronize=lambda: done.append("wait"),
    )
    calls = {"a": lambda turn: done.append("a"), "b": lambda turn: done.append("b")}
    times = benchmark.take_turns(SimpleNamespace(cuda=cuda), calls, 1, 9)
    assert times == {"a": [2e-3], "b": [2e-3]}
    assert done == [*("sleep", "event", "a", "event"), *("sleep", "event", "b", "event"), "wait"]
