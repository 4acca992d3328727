"""The CUDA part where there is no GPU: what is registered, and the tools around the build."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tensorflow.python.framework import kernels, op_def_registry

from fastw2v import _build_info, cli
from fastw2v._core import library, with_tensorflow
from fastw2v.commands import info

ROOT = Path(__file__).resolve().parent.parent

# With kernels for tables of each type.
TABLE_OPS = (
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("SoftmaxPart", "SoftmaxPartGrad"),
    *("SoftmaxStep", "SampledStep", "Gather", "GatherGrad"),
    *("SparseUpdate", "ApplyPending", "SumRows", "TopK"),
)
# Others, and how many kernels of a GPU they have.
OTHER_OPS = {"CandidateSampler": 1, "JoinSoftmaxParts": 2}
# Placed on a GPU they run on the CPU, with all they take and give in its memory: tables that are
# made once, and examples, whose number depends on the text.
HOST_OPS = (
    *("UnigramTable", "KeepProbabilities", "NoiseTable", "HuffmanTree"),
    *("SkipGrams", "CbowBags"),
)
# What kernels of a GPU read on the host. All other numbers are memory of the device, which the host
# must not touch; handles of variables are on the host by themselves.
NUMBERS = {"learning_rate", "step", "hyperparameters"}
HOST_ARGUMENTS = {
    "SparseUpdate": NUMBERS,
    "ApplyPending": NUMBERS,
    "SoftmaxStep": NUMBERS,
    "SampledStep": NUMBERS,
    "SoftmaxPart": {"part"},
    "SoftmaxPartGrad": {"part"},
    "CandidateSampler": {"seed"},
}
# Not to be placed on a GPU: their variables are on the CPU.
CPU_OPS = ("Word2VecTrain", "InferDocuments", "GiveRows", "FindRows", "RenewRows")
# TensorFlow's enumeration: float, double, half, bfloat16.
DTYPES = {1, 2, 19, 14}


def registered(op: str, device: str) -> list:
    found = kernels.get_registered_kernels_for_op(f"Fastw2v>{op}").kernel
    return [kernel for kernel in found if kernel.device_type == device]


def table_types(registrations: list) -> set[int]:
    return {
        number
        for kernel in registrations
        for constraint in kernel.constraint
        if constraint.name == "T"
        for number in constraint.allowed_values.list.type
    }


def test_every_op_is_registered_for_a_gpu_where_the_build_has_cuda():
    assert library.ops is not None
    built = _build_info.CUDA not in ("", "emulated") and not library.why_no_gpu_kernels
    expected = DTYPES if built else set()
    for op in TABLE_OPS:
        assert table_types(registered(op, "CPU")) == DTYPES, op
        assert table_types(registered(op, "GPU")) == expected, op
    for op, count in OTHER_OPS.items():
        assert len(registered(op, "CPU")) >= count, op
        assert len(registered(op, "GPU")) == (count if expected else 0), op


def test_what_kernels_of_a_gpu_read_on_the_host():
    if not _build_info.CUDA:
        pytest.skip("this build has no kernels of a GPU")
    for op in (*TABLE_OPS, *OTHER_OPS):
        # Emulated, they stand before those of the CPU.
        found = registered(op, "GPU") or [k for k in registered(op, "CPU") if k.priority > 0]
        assert found, op
        for kernel in found:
            assert set(kernel.host_memory_arg) == HOST_ARGUMENTS.get(op, set()), op


@pytest.mark.parametrize("op", HOST_OPS)
def test_ops_of_the_host_can_be_placed_on_a_gpu(op):
    assert len(registered(op, "CPU")) == 1
    (kernel,) = registered(op, "GPU")
    definition = op_def_registry.get(f"Fastw2v>{op}")
    arguments = [argument.name for argument in (*definition.input_arg, *definition.output_arg)]
    assert sorted(kernel.host_memory_arg) == sorted(arguments)


TOO_OLD = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tensorflow as tf
    import fastw2v
print(*[w.message for w in caught if "fastw2v" in str(w.message)], sep="\\n")
from tensorflow.python.framework import kernels
found = kernels.get_registered_kernels_for_op("Fastw2v>SoftmaxLoss").kernel
print(sum(kernel.priority > 0 or kernel.device_type == "GPU" for kernel in found))
tables = tf.Variable(tf.ones([9, 4])), tf.Variable(tf.ones([9, 4])), tf.Variable(tf.zeros([9]))
print(fastw2v.softmax_loss(*tables, [1], [2]).numpy()[0])
from fastw2v import cli
cli.main(["info"])
"""


@pytest.mark.parametrize("arch", [75, 80])
def test_kernels_of_a_gpu_are_registered_where_it_is_new_enough(arch, tmp_path):
    if _build_info.CUDA != "emulated":
        pytest.skip("a GPU of the age that a test chooses is there in the emulated build alone")
    environment = {**os.environ, "FASTW2V_EMULATED_ARCH": str(arch)}
    command = [sys.executable, "-c", TOO_OLD]
    # Away from the checkout, whose sources it would import.
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    warned, count, loss, *info = done.stdout.splitlines()
    support = next(line for line in info if line.startswith("GPU support"))
    if arch == 75:
        assert "need compute capability 8.0 or later, and the GPU has 7.5: create" in warned
        assert int(count) == 0
        assert support.endswith("no, built with CUDA emulated: " + warned)
    else:
        assert warned == ""
        assert int(count) == len(DTYPES)
        assert support.endswith("yes, CUDA emulated")
    assert float(loss) == pytest.approx(np.log(9), rel=1e-5)


def test_gpus_that_are_too_old_are_warned_of(monkeypatch):
    monkeypatch.setattr(library, "why_no_gpu_kernels", "the GPU is too old")
    monkeypatch.setattr(with_tensorflow, "warn", True)  # the doctor's tests have turned it off
    with pytest.warns(RuntimeWarning, match="^the GPU is too old$"):
        with_tensorflow.load()
    monkeypatch.setattr(with_tensorflow, "warn", False)
    with_tensorflow.load()  # warnings are errors


def test_info_says_why_gpus_are_not_used(monkeypatch, capsys):
    monkeypatch.setattr(info, "CUDA", "13.0")
    monkeypatch.setattr(library, "why_no_gpu_kernels", "the GPU is too old")
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert re.search("^GPU support +no, built with CUDA 13.0: the GPU is too old$", printed, re.M)


def test_what_stays_on_the_cpu():
    for op in CPU_OPS:
        assert registered(op, "CPU"), op
        assert registered(op, "GPU") == [], op


def test_every_op_is_listed():
    found = {kernel.op for kernel in kernels.get_all_registered_kernels().kernel}
    ops = {name.removeprefix("Fastw2v>") for name in found if name.startswith("Fastw2v>")}
    assert ops == {*TABLE_OPS, *OTHER_OPS, *HOST_OPS, *CPU_OPS}


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


REPORT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4KernIfEvPT_' for 'sm_80'
ptxas info    : Function properties for _Z4KernIfEvPT_
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 392 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4KernIfEvPT_' for 'sm_90'
ptxas info    : Function properties for _Z4KernIfEvPT_
    8 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 255 registers, 392 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4KernIdEvPT_' for 'sm_80'
ptxas info    : Function properties for _Z4KernIdEvPT_
    8 bytes stack frame, 16 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 32 registers, 392 bytes cmem[0]
"""


def test_the_report_of_the_assembler_is_kept_and_the_rest_is_printed():
    kept, printed = load("cmake/ptxas_report.py").split("a.cu(1): warning: x\n" + REPORT)
    assert printed == "a.cu(1): warning: x\n"
    assert kept == REPORT


def test_a_spill_in_a_hot_kernel_fails(tmp_path):
    (tmp_path / "a.cu.o.ptxas").write_text(REPORT, encoding="utf-8")
    command = [sys.executable, ROOT / "tools" / "check_cuda_resources.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Kern<float>  registers 80: 40; 90: 255, 12 bytes spilled" in done.stdout
    assert "Kern<double>  registers 80: 32, 32 bytes spilled" in done.stdout
    assert done.stderr == "error: Kern<float> spills 12 bytes on sm_90\n"


MACHINE_CODE = """\
arch = sm_80
\t\tFunction : _Z6LogitsI8BFloat16Evv
        /*0000*/   HMMA.16816.F32.BF16 R8, R4, R2, R8 ;
        /*0010*/   LDGSTS.E.BYPASS.128 [R2], [R4.64] ;
        /*0020*/   MUFU.EX2 R1, R1 ;
\t\tFunction : _Z12GatherKernelIffLi4EEvv
        /*0000*/   LDG.E.128.CONSTANT R8, [R4.64] ;
        /*0010*/   STG.E.128 [R4.64], R8 ;
"""


@pytest.fixture
def objects(monkeypatch, tmp_path) -> Path:
    """An object with three kernels, and a cuobjdump that knows two of them."""
    report = "".join(
        f"ptxas info    : Compiling entry function '{symbol}' for 'sm_80'\n"
        for symbol in (
            *("_Z6LogitsI8BFloat16Evv", "_Z12GatherKernelIffLi4EEvv"),
            "_Z6LogitsIdEvv",
        )
    )
    (tmp_path / "a.cu.o").touch()
    (tmp_path / "a.cu.o.ptxas").write_text(report, encoding="utf-8")
    (tmp_path / "code").write_text(MACHINE_CODE, encoding="utf-8")
    tool = tmp_path / "cuobjdump"
    tool.write_text(f"#!/bin/sh\ncat {tmp_path}/code\n", encoding="utf-8")
    tool.chmod(0o755)
    return tmp_path


def test_a_hot_kernel_without_its_instructions_fails(objects, monkeypatch, capsys):
    check = load("tools/check_cuda_resources.py")
    monkeypatch.setattr(check, "find_cuobjdump", lambda: str(objects / "cuobjdump"))
    assert check.main(str(objects), "--sass") == 1
    shown = capsys.readouterr()
    missing = [line for line in shown.err.splitlines() if " has no " in line]
    # The kernel of double is not looked at.
    assert missing == ["error: Logits<BFloat16> has no LDSM on sm_80"]
    assert "the machine code of 2 kernels was read" in shown.out


def test_a_pattern_that_names_no_kernel_fails(objects, monkeypatch, capsys):
    check = load("tools/check_cuda_resources.py")
    monkeypatch.setattr(check, "find_cuobjdump", lambda: str(objects / "cuobjdump"))
    monkeypatch.setattr(check, "INSTRUCTIONS", {"GatherKernel<": ("LDG.E.128",), "Old<": ("HMMA",)})
    assert check.main(str(objects), "--sass") == 1
    assert capsys.readouterr().err == "error: no kernel is named Old<\n"


def test_machine_code_cannot_be_read_without_cuobjdump(objects, monkeypatch, capsys):
    check = load("tools/check_cuda_resources.py")
    monkeypatch.setattr(check, "find_cuobjdump", lambda: None)
    assert check.main(str(objects), "--sass") == 1
    assert "install the Python package nvidia-cuda-cuobjdump" in capsys.readouterr().err


@pytest.fixture
def gpu(monkeypatch) -> ModuleType:
    """benchmarks/gpu.py"""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load("benchmarks/gpu.py")


def test_the_benchmark_says_what_it_lacks():
    done = subprocess.run(
        [sys.executable, "gpu.py"],
        capture_output=True,
        text=True,
        cwd=ROOT / "benchmarks",
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("this benchmark needs ")


def test_shares_and_ratios_of_the_benchmark(gpu, tmp_path):
    case = gpu.Case("exact", "bfloat16", 8192, 100_000, 256)
    ceilings = gpu.Ceilings({"bfloat16": 1e15, "float32": 1e14}, 3e12, 4e12)
    assert case.operations("step") == 6 * 8192 * 100_000 * 256
    # Products: 0.42 ms forward; exponentials: 0.2 ms.
    assert ceilings.floor(case, "forward") == pytest.approx(2 * 8192 * 1e5 * 256 / 1e15)
    narrow = gpu.Case("exact", "bfloat16", 8192, 100_000, 32)
    assert ceilings.floor(narrow, "forward") == pytest.approx(8192 * 1e5 / 4e12)
    times = {"forward": {gpu.OURS: [1e-3, 2e-3, 3e-3], "torch": [4e-3, 4e-3, 12e-3]}}
    environment = dict.fromkeys(("device", "pytorch", "triton", "driver", "python"), "x")
    lines = list(gpu.rows(case, times, {"torch": 7}, ceilings, environment))
    ours, torch = lines
    assert ours.median_s == 2e-3 and ours.p20_s == pytest.approx(1.4e-3)
    assert ours.tflops == pytest.approx(case.operations("forward") / 2e-3 / 1e12)
    assert ours.floor_share == pytest.approx(ceilings.floor(case, "forward") / 2e-3)
    assert (ours.time_ratio, torch.time_ratio, torch.extra_bytes) == (1, 4, 7)
    assert "4.00x our time" in gpu.table_line(torch)
    gpu.write(tmp_path / "results" / gpu.file_name("NVIDIA H100 80GB HBM3"), lines)
    with (tmp_path / "results" / "gpu_NVIDIA_H100_80GB_HBM3.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["contestant"] for row in read] == ["fastw2v", "torch"]
    assert read[1]["time_ratio"] == "4"


def test_a_case_of_the_benchmark_names_its_candidates(gpu):
    for case in (*gpu.CASES, *gpu.QUICK):
        assert (case.work == "sampled") == (case.sampled > 0)
        assert case.candidates == (case.sampled + 1 if case.sampled else case.classes)
