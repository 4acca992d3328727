"""Microseconds of every kernel of a training step, by PyTorch's profiler.

    FASTW2V_KERNELS=... python tools/gpu/profile_kernels.py [--seconds 200] [--one-step D]

A case has a line for each kernel, longest first, and above them the floor: what the case's matrix
products (6BVD) take at the rate of a large product measured here, in the type of the case. Some
widths have rows that the copy engine takes (304), others rows that threads copy (300). Results
are compared with PyTorch's first; the status is 1 if any is wrong. Cases are printed as they end,
and written to benchmarks/results/gpu_kernels_<device>.csv.

--one-step runs a step of one case (bfloat16, B=8192 V=100000) for a profiler that is wrapped around
this program and waits for it to start the profile (`ncu --profile-from-start off`).
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import astuple, fields
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gpu
import gpu_contestants

STEPS = 5
CASES = (
    *(gpu.Case("exact", "bfloat16", 8192, 100_000, dim) for dim in (128, 256, 304, 300, 512)),
    gpu.Case("exact", "float32", 8192, 100_000, 300),
    gpu.Case("sampled", "bfloat16", 8192, 1_000_000, 300, 8192),
    gpu.Case("sampled", "float32", 8192, 1_000_000, 300, 8192),
    gpu.Case("exact", "bfloat16", 8192, 1_000_000, 300),
    gpu.Case("exact", "bfloat16", 2048, 128_256, 4096),
    gpu.Case("exact", "bfloat16", 1024, 50_000, 128),
    gpu.Case("exact", "bfloat16", 64, 10_000, 128),
    gpu.Case("sampled", "float32", 1024, 1_000_000, 128, 64),
    gpu.Case("adagrad", "float32", 16_384, 1_000_000, 300),
)


def short(name: str) -> str:
    """A kernel's name without namespaces and arguments."""
    plain = re.sub(r"\(anonymous namespace\)::|\b(?:fastw2v|cuda)::|^void ", "", name)
    return plain.split("(")[0][:80]


def lines(times: dict[str, list[float]], steps: int) -> list[str]:
    """A line for each kernel, from the microseconds of its calls in some steps."""
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    return [
        f"  {sum(us) / steps:10.1f} us  {len(us) / steps:5.1f} x  {name}" for name, us in ordered
    ]


def write(path: Path, rows: list[tuple[str | int | float, ...]]) -> None:
    """The CSV; written anew after every case, so that what was measured is not lost."""
    names = [field.name for field in fields(gpu.Case)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*names, "kernel", "calls_a_step", "us_a_step"))
        writer.writerows(rows)


def make_step(torch: Any, cuda: ModuleType, case: gpu.Case) -> gpu_contestants.Call:
    """A checked training step of a case."""
    make = gpu_contestants.Updates if case.work == "adagrad" else gpu_contestants.Arena
    arena = make(torch, cuda, case, compiled=False)
    arena.compare()
    return arena.our_step()


def profile(torch: Any, step: gpu_contestants.Call) -> dict[str, list[float]]:
    """Microseconds of each call of each kernel in STEPS steps."""
    for i in range(3):
        step(i)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for i in range(STEPS):
            step(i)
        torch.cuda.synchronize()
    times = defaultdict(list)
    for event in profiler.events():
        if "cuda" in str(event.device_type).lower():
            times[short(event.name)].append(event.time_range.elapsed_us())
    return dict(times)


def product_rate(torch: Any, dtype: str) -> float:
    """Operations a second of a large product."""
    size = 8192
    a, b = (torch.randn(size, size, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
    result = torch.empty_like(a)
    for _ in range(3):
        torch.matmul(a, b, out=result)
    times = gpu.take_turns(torch, {"": lambda _: torch.matmul(a, b, out=result)}, 9, 5)[""]
    return 2 * size**3 / statistics.median(times)


def main(*given: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=200, help="for all cases together")
    parser.add_argument("--one-step", type=int, metavar="D", help="a step of that width alone")
    arguments = parser.parse_args(given)
    torch, cuda = gpu.require_gpu(), gpu.load_kernels()
    torch.backends.cuda.matmul.allow_tf32 = False
    if arguments.one_step:
        step = make_step(
            torch, cuda, gpu.Case("exact", "bfloat16", 8192, 100_000, arguments.one_step)
        )
        step(0)
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        step(1)
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
        return 0
    end = time.monotonic() + arguments.seconds
    device = torch.cuda.get_device_name(0)
    output = gpu.RESULTS / gpu.file_name(device).replace("gpu_", "gpu_kernels_", 1)
    written: list[tuple[str | int | float, ...]] = []
    rates = {dtype: product_rate(torch, dtype) for dtype in ("bfloat16", "float32")}
    print(", ".join(f"{name}: {rate / 1e12:.0f} TFLOP/s" for name, rate in rates.items()))
    failed = False
    for case in CASES:
        if time.monotonic() > end:
            print(f"no time was left for {case}", flush=True)
            continue
        try:
            times = profile(torch, make_step(torch, cuda, case))
        except Exception as error:  # the other cases are worth having
            print(f"FAILED: {case}: {error}", flush=True)
            failed = True
            continue
        floor = 1e6 * case.operations("step") / rates[case.dtype]
        total = sum(map(sum, times.values())) / STEPS
        print(f"\n{case}: {total:.0f} us of kernels a step, floor of the products {floor:.0f} us")
        print("\n".join(lines(times, STEPS)), flush=True)
        for name, us in times.items():
            written.append((*astuple(case), name, len(us) / STEPS, round(sum(us) / STEPS, 2)))
        write(output, written)
        torch.cuda.empty_cache()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
