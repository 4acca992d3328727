"""The kernels of a GPU beside other libraries and what the device can do, without TensorFlow.

    python benchmarks/gpu.py [--seconds 240] [--quick] [--no-compile] [--output FILE]

Prints one table and writes one CSV per device, benchmarks/results/gpu_<device>.csv. Needs PyTorch,
whose arrays and streams the kernels take, and the kernels: those that FASTW2V_KERNELS names, or of
the installed package. Liger, cut-cross-entropy and QuACK take part where they are installed.

All contestants of a case take turns in rounds of one run, on inputs that change from call to call
and together are larger than the second-level cache, timed by events of the device. A floor is the
larger of two times: of the matrix products at the rate of a large product in the same run (in the
same type; float32 without TF32), and of one exponential per logit; an update's is that of a copy of
as many bytes. A step counts as 6BVD
operations, its forward part as 2BVD and its backward part as 4BVD, whatever is computed twice.
Before a case is timed, our results are compared with PyTorch's in float32 (gpu_truth.py); where
they are wrong it is not timed, and the status is 1.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
OURS = "fastw2v"
PASSES = ("forward", "backward", "step")

MIN_ROUNDS, MAX_ROUNDS = 5, 30
# Of the special function unit, in each clock of each multiprocessor: on all chips since sm_80.
EXPONENTIALS_PER_CLOCK = 16
# Clocks that the device is kept busy for before a call, about half a millisecond: on an idle one
# the first event would pass at once, and the time that the host takes to launch would be measured.
BUSY_CLOCKS = 1_000_000


@dataclass(frozen=True)
class Case:
    """A problem: B, V, D, and S classes that are sampled (0: all classes compete).

    The work "adagrad" is an update of B of V rows, D wide, with a gradient as losses make it.
    """

    work: str
    dtype: str
    batch: int
    classes: int
    dim: int
    sampled: int = 0

    @property
    def candidates(self) -> int:
        return self.sampled + 1 if self.sampled else self.classes

    def operations(self, part: str) -> int:
        """Of the matrix products that a pass is counted as."""
        if self.work == "adagrad":
            return 0
        products = {"forward": 1, "backward": 2, "step": 3}[part]
        return 2 * products * self.batch * (self.sampled or self.classes) * self.dim

    def exponentials(self) -> int:
        return 0 if self.work == "adagrad" else self.batch * self.candidates

    def bytes_moved(self) -> int:
        """Of an update: gradients are read, weights and accumulators read and written."""
        width = {"bfloat16": 2, "float32": 4}[self.dtype]
        return 5 * width * self.batch * self.dim if self.work == "adagrad" else 0


# In the order of what is to be known first.
CASES = (
    Case("exact", "bfloat16", 8192, 100_000, 300),
    Case("exact", "bfloat16", 8192, 100_000, 128),
    Case("exact", "bfloat16", 8192, 100_000, 256),
    Case("exact", "bfloat16", 8192, 100_000, 512),
    Case("sampled", "bfloat16", 8192, 1_000_000, 300, 8192),
    Case("sampled", "float32", 8192, 1_000_000, 300, 8192),
    Case("adagrad", "float32", 16_384, 1_000_000, 300),
    Case("exact", "bfloat16", 2048, 128_256, 4096),
    Case("exact", "float32", 8192, 100_000, 300),
    Case("exact", "bfloat16", 8192, 1_000_000, 128),
    Case("exact", "bfloat16", 8192, 1_000_000, 300),
    Case("exact", "bfloat16", 8192, 128_256, 4096),
    Case("exact", "bfloat16", 8192, 1_000_000, 256),
    Case("exact", "bfloat16", 8192, 1_000_000, 512),
)
QUICK = (
    Case("exact", "bfloat16", 256, 2_000, 64),
    Case("sampled", "float32", 256, 2_000, 64, 128),
    Case("adagrad", "float32", 256, 2_000, 64),
)


@dataclass(frozen=True)
class Ceilings:
    """What the device can do."""

    matmul: dict[str, float]  # operations a second, by dtype
    copy: float  # bytes a second, read and written
    exponentials: float  # a second

    def floor(self, case: Case, part: str) -> float:
        """Seconds that a pass takes at least."""
        products = case.operations(part) / self.matmul[case.dtype]
        return max(
            products, case.exponentials() / self.exponentials, case.bytes_moved() / self.copy
        )


@dataclass(frozen=True)
class Row:
    """A line of the table and the CSV."""

    work: str
    dtype: str
    batch: int
    classes: int
    dim: int
    sampled: int
    part: str
    contestant: str
    rounds: int
    median_s: float
    p20_s: float
    p80_s: float
    tflops: float
    floor_share: float
    time_ratio: float
    extra_bytes: int
    matmul_tflops: float
    copy_gbytes_per_s: float
    exponentials_per_s: float
    device: str
    pytorch: str
    triton: str
    driver: str
    python: str


def file_name(device: str) -> str:
    """The CSV of a device."""
    return f"gpu_{re.sub(r'[^A-Za-z0-9]+', '_', device).strip('_')}.csv"


def quantile(samples: list[float], share: float) -> float:
    """The sample below which `share` of them lie, interpolated."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def rows(
    case: Case,
    times: dict[str, dict[str, list[float]]],
    extra_bytes: dict[str, int],
    ceilings: Ceilings,
    environment: dict[str, str],
) -> Iterator[Row]:
    """The lines of a case from its times in seconds, by pass and contestant, in rounds."""
    for part, contestants in times.items():
        ours = contestants.get(OURS)
        for name, samples in contestants.items():
            median = statistics.median(samples)
            ratio = 0.0
            if ours is not None:
                pairs = zip(samples, ours, strict=False)
                ratio = statistics.median(other / mine for other, mine in pairs)
            yield Row(
                *astuple(case),
                part=part,
                contestant=name,
                rounds=len(samples),
                median_s=median,
                p20_s=quantile(samples, 0.2),
                p80_s=quantile(samples, 0.8),
                tflops=case.operations(part) / median / 1e12,
                floor_share=ceilings.floor(case, part) / median,
                time_ratio=ratio,
                extra_bytes=extra_bytes.get(name, 0),
                matmul_tflops=ceilings.matmul[case.dtype] / 1e12,
                copy_gbytes_per_s=ceilings.copy / 1e9,
                exponentials_per_s=ceilings.exponentials,
                **environment,
            )


def write(path: Path, lines: Iterable[Row]) -> None:
    """The CSV; written anew after every case, so that what was measured is not lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        for line in lines:
            writer.writerow(f"{x:.6g}" if isinstance(x, float) else x for x in astuple(line))


def table_line(row: Row) -> str:
    size = f"B={row.batch} V={row.classes} D={row.dim}" + (f" S={row.sampled}" * bool(row.sampled))
    return (
        f"{row.work:8} {row.dtype:9} {size:36} {row.part:9} {row.contestant:20} "
        f"{1e3 * row.median_s:9.3f} ms {row.tflops:7.1f} TFLOP/s "
        f"{row.floor_share:6.1%} of the floor  {row.time_ratio:5.2f}x our time  "
        f"{row.extra_bytes / 2**20:8.1f} MiB beside results"
    )


def load_kernels() -> ModuleType:
    """`_kernels.cuda` on a GPU, or an exit with a sentence."""
    path = os.environ.get("FASTW2V_KERNELS")
    if path is not None:
        spec = importlib.util.spec_from_file_location("_kernels", path)
        kernels = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(kernels)
    else:
        try:
            from fastw2v import _kernels as kernels
        except ImportError:
            sys.exit("the kernels were not found: set FASTW2V_KERNELS, or run `make gpu-check`")
    cuda = getattr(kernels, "cuda", None)
    if cuda is None or cuda.emulated:
        sys.exit("these kernels were built without CUDA: build with FASTW2V_CUDA=ON")
    return cuda


def require_gpu() -> Any:
    """PyTorch with a GPU, or an exit with a sentence."""
    if importlib.util.find_spec("torch") is None:
        sys.exit("this benchmark needs PyTorch, which is not installed")
    import torch

    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a GPU, and PyTorch finds none")
    return torch


def driver_query(field: str) -> str:
    """A fact that nvidia-smi tells of the first GPU, or an empty string."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits", "-i", "0"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def take_turns(
    torch: Any,
    calls: dict[str, Callable[[int], None]],
    rounds: int,
    seconds: float,
) -> dict[str, list[float]]:
    """Seconds of each call, in rounds: each call is given the number of the round."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end = time.monotonic() + seconds
    for turn in range(rounds):
        if turn >= MIN_ROUNDS and time.monotonic() > end:
            break
        events = {}
        for name, call in calls.items():
            begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(BUSY_CLOCKS)
            begin.record()
            call(turn)
            done.record()
            events[name] = begin, done
        torch.cuda.synchronize()
        for name, (begin, done) in events.items():
            samples[name].append(begin.elapsed_time(done) / 1e3)
    return samples


def measure_ceilings(torch: Any, quick: bool) -> Ceilings:
    size = 1024 if quick else 8192
    matmul = {}
    for dtype in ("bfloat16", "float32"):
        a, b = (torch.randn(size, size, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
        result = torch.empty_like(a)
        for _ in range(3):
            torch.matmul(a, b, out=result)
        times = take_turns(
            torch, {"": lambda _, a=a, b=b, r=result: torch.matmul(a, b, out=r)}, 9, 9
        )
        matmul[dtype] = 2 * size**3 / statistics.median(times[""])
    source = torch.empty(2**26 if quick else 2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = take_turns(torch, {"": lambda _: target.copy_(source)}, 9, 9)
    copy = 2 * source.numel() / statistics.median(times[""])
    properties = torch.cuda.get_device_properties(0)
    megahertz = float(driver_query("clocks.max.sm") or 0)
    clock = 1e6 * megahertz or 1e3 * getattr(properties, "clock_rate", 0)
    exponentials = EXPONENTIALS_PER_CLOCK * properties.multi_processor_count * clock
    return Ceilings(matmul, copy, exponentials)


def measure(
    torch: Any, cuda: ModuleType, case: Case, seconds: float, compiled: bool
) -> tuple[dict[str, dict[str, list[float]]], dict[str, int]]:
    """Times of a case by pass and contestant, and the memory of each beside its results."""
    import gpu_contestants

    end = time.monotonic() + seconds
    make = gpu_contestants.Updates if case.work == "adagrad" else gpu_contestants.Arena
    arena = make(torch, cuda, case, compiled)
    arena.compare()
    times = {}
    for i, part in enumerate(PASSES):
        calls = arena.calls(part)  # compiles, which counts as time of the case
        if calls:
            share = (end - time.monotonic()) / (len(PASSES) - i)
            times[part] = take_turns(torch, calls, MAX_ROUNDS, share)
    return times, arena.extra_bytes


def version(package: str) -> str:
    """Of an installed package, or an empty string."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=240, help="for all cases together")
    parser.add_argument("--quick", action="store_true", help="small problems: a trial")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--output", type=Path, help="the CSV")
    arguments = parser.parse_args()
    torch = require_gpu()
    cuda = load_kernels()
    end = time.monotonic() + arguments.seconds
    device = torch.cuda.get_device_name(0)
    output = arguments.output or RESULTS / file_name(device)
    environment = {
        "device": device,
        "pytorch": torch.__version__,
        "triton": version("triton"),
        "driver": driver_query("driver_version"),
        "python": platform.python_version(),
    }
    torch.backends.cuda.matmul.allow_tf32 = False
    ceilings = measure_ceilings(torch, arguments.quick)
    print(
        f"{device}: matrix products of {ceilings.matmul['bfloat16'] / 1e12:.0f} (bfloat16) and "
        f"{ceilings.matmul['float32'] / 1e12:.1f} (float32) TFLOP/s, copy of "
        f"{ceilings.copy / 1e9:.0f} GB/s, {ceilings.exponentials / 1e12:.2f}e12 exponentials/s",
        flush=True,
    )
    lines: list[Row] = []
    failed = False
    cases = QUICK if arguments.quick else CASES
    for i, case in enumerate(cases):
        left = end - time.monotonic()
        if left < 5 and not arguments.quick:
            print(f"not measured for lack of time: {', '.join(map(str, cases[i:]))}")
            break
        share = left / min(len(cases) - i, 6)
        try:
            times, extra_bytes = measure(torch, cuda, case, share, not arguments.no_compile)
        except Exception as error:  # the other cases are worth having
            print(f"FAILED: {case}: {error}", flush=True)
            failed = True
            continue
        for row in rows(case, times, extra_bytes, ceilings, environment):
            lines.append(row)
            print(table_line(row), flush=True)
        torch.cuda.empty_cache()
        write(output, lines)
    print(f"written: {output}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
