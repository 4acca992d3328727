"""What has to hold on a machine with a GPU, and how fast it is there: `make gpu-check`.

    python tools/gpu/check.py [--minutes 9] [STAGE ...]

The stages, in the order in which they are worth a first run on a GPU:

    tests       the tests of the kernels, a process for each file, Hopper's first
    context     kernels in the context that TensorFlow makes, without PyTorch (driver_context.py)
    promises    the same bits twice at full size, and tables of more than 2^31 entries (promises.py)
    profile     microseconds of each kernel of a training step (profile_kernels.py)
    benchmark   benchmarks/gpu.py beside other libraries
    counters    counters of the device by Nsight Compute, where `ncu` is installed
    sanitize    tests under compute-sanitizer: `make gpu-sanitize`

The first five run where none is named. Kernels are built first, without TensorFlow and for the GPU
that is there, unless FASTW2V_KERNELS names them. Needs nvcc, CMake, Ninja, and in this Python
pybind11, NumPy, ml_dtypes, pytest and PyTorch, better pytest-timeout too; no network, and nothing
is installed. A stage follows whatever became of the one before it, within the minutes that all have
together; the status is 1 if anything failed. What a stage has found is printed as it is found.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import programs

ROOT = programs.ROOT
BUILD = ROOT / "build" / "gpu"
RESULTS = ROOT / "benchmarks" / "results"
TESTS = ROOT / "tests" / "kernels" / "cuda"
BUILD_MINUTES = 6.0
SECONDS_A_TEST = 40
# Small problems leave most of a GPU idle.
FILES_AT_ONCE = 4
# A case of every test; see tests/kernels/cuda/conftest.py.
SANITIZED = "sanitized"
# What the kernels of a step are limited by: tensor pipe, issue slots, second-level cache,
# special function units.
COUNTERS = (
    "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active",
    "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "lts__t_sectors.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_xu.avg.pct_of_peak_sustained_active",
    "gpu__time_duration.sum",
)


def missing() -> list[str]:
    """What the check needs and this machine has not, a sentence each."""
    sentences = []
    if "FASTW2V_KERNELS" not in os.environ:
        sentences = [f"{x} was not found" for x in ("cmake", "ninja") if shutil.which(x) is None]
    for module in ("pybind11", "numpy", "ml_dtypes", "pytest", "torch"):
        try:
            __import__(module)
        except ImportError:
            sentences.append(f"{sys.executable} has no {module}")
    if not sentences:
        import torch

        if not torch.cuda.is_available():
            sentences.append("PyTorch finds no GPU")
    return sentences


def chip() -> str:
    """The compute capability of the GPU as CMake's FASTW2V_CUDA_CHIPS takes it."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{major}{minor}"


def test_files() -> tuple[list[Path], list[Path]]:
    """Those of Hopper's kernels, which are the most likely to hang, and the others."""
    files = sorted(TESTS.glob("test_*.py"))
    hopper = [file for file in files if "hopper" in file.name]
    return hopper, [file for file in files if file not in hopper]


class Check:
    """Runs one part after the other within a time, and remembers which failed."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.failed: list[str] = []
        self.kernels = os.environ.get("FASTW2V_KERNELS", "")

    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def fail(self, what: str) -> None:
        self.failed.append(what)

    def run(self, what: str, command: list[str], minutes: float | None = None) -> bool:
        """Whether `command` succeeds in the minutes that it has, or in what is left of all."""
        seconds = self.seconds_left()
        if minutes is not None:
            seconds = min(60 * minutes, seconds)
        print(f"== {what}\n$ {' '.join(command)}", flush=True)
        started = time.monotonic()
        status = programs.run(command, seconds, {"FASTW2V_KERNELS": self.kernels})
        ended = f"not done after {seconds:.0f} s" if status is None else f"status {status}"
        print(f"== {what}: {ended}, {time.monotonic() - started:.0f} s", flush=True)
        if status != 0:
            self.fail(f"{what} ({ended})")
        return status == 0

    def run_files(
        self,
        what: str,
        files: list[Path],
        command: list[str],
        at_once: int = 1,
        environment: dict[str, str] | None = None,
    ) -> list[programs.FileResult]:
        """Prints a line for each file as it ends, and the output of those that failed."""
        print(f"== {what}\n$ {' '.join(command)} FILE", flush=True)
        environment = {"FASTW2V_KERNELS": self.kernels, **(environment or {})}
        logs = BUILD / "logs" / what.replace(" ", "_")
        results = []
        for result in programs.run_files(files, command, self.end, environment, logs, at_once):
            results.append(result)
            print(result.line(), flush=True)
            if not result.good:
                print("\n".join(result.output.splitlines()[-40:]), flush=True)
                self.fail(f"{what}: {result.line()}")
        return results

    def build(self) -> bool:
        """Whether there are kernels; says which."""
        if not self.kernels:
            configure = [
                *("cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"),
                *("-DFASTW2V_TENSORFLOW=OFF", "-DFASTW2V_CUDA=ON"),
                *(f"-DFASTW2V_CUDA_CHIPS={chip()}", f"-DPython_EXECUTABLE={sys.executable}"),
                f"-DFASTW2V_OUTPUT_DIR={BUILD}/fastw2v",
            ]
            if not (
                self.run("configure", configure, BUILD_MINUTES)
                and self.run("build", ["cmake", "--build", str(BUILD)], BUILD_MINUTES)
            ):
                return False
            self.kernels = str(next((BUILD / "fastw2v").glob("_kernels*.so")))
            resources = [sys.executable, "tools/check_cuda_resources.py", str(BUILD)]
            self.run("registers and spills", resources, 1)
        print(f"kernels: {self.kernels}", flush=True)
        return True


def tests(check: Check) -> None:
    import torch

    device = torch.cuda.get_device_name()
    print(f"{device}, compute capability {chip()}", flush=True)
    command = programs.pytest_command(SECONDS_A_TEST)
    hopper, others = test_files()
    results = check.run_files("tests of Hopper's kernels", hopper, command)
    write_results(RESULTS, device, results)
    results += check.run_files("tests", others, command, FILES_AT_ONCE)
    write_results(RESULTS, device, results)


def write_results(folder: Path, device: str, results: list[programs.FileResult]) -> None:
    """A CSV of what became of files of tests, for tools/write_kernels_page.py."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", device).strip("_")
    with (folder / f"gpu_tests_{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "good", "passed", "failed"))
        for result in sorted(results, key=lambda result: result.name):
            failed = " ".join([*result.failed, result.unfinished]).strip()
            # Where all was skipped, nothing has run.
            good = result.good and result.passed > 0
            writer.writerow((result.name, "yes" if good else "no", result.passed, failed))


def _program(name: str, *arguments: str, minutes: float) -> Callable[[Check], None]:
    def run(check: Check) -> None:
        left = min(60 * minutes, check.seconds_left())
        filled = [argument.format(seconds=int(max(left - 10, 1))) for argument in arguments]
        check.run(Path(name).stem, [sys.executable, name, *filled], minutes)

    return run


def counters(check: Check) -> None:
    ncu = shutil.which("ncu")
    if ncu is None:
        print("== counters: ncu is not installed, so none were read", flush=True)
        return
    for case in ("128", "304", "300"):
        command = [
            *(ncu, "--metrics", ",".join(COUNTERS), "--profile-from-start", "off", "--csv"),
            *(sys.executable, "tools/gpu/profile_kernels.py", "--one-step", case),
        ]
        check.run(f"counters at D = {case}", command, 2.5)


def sanitize(check: Check) -> None:
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        print("compute-sanitizer is not installed: nothing was run under it", file=sys.stderr)
        check.fail("sanitize (compute-sanitizer is not installed)")
        return
    pytest = programs.pytest_command(600)
    hopper, others = test_files()
    # racecheck knows neither the copy engine nor its barriers: Hopper's files are left out there.
    tools = {"memcheck": [*hopper, *others], "synccheck": hopper, "racecheck": others}
    for tool, some in tools.items():
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *pytest, "-m", SANITIZED]
        # PyTorch's allocator hands out parts of large blocks, whose ends nobody would watch.
        check.run_files(tool, some, command, environment={"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})


STAGES: dict[str, Callable[[Check], None]] = {
    "tests": tests,
    "context": _program("tools/gpu/driver_context.py", minutes=1),
    "promises": _program("tools/gpu/promises.py", minutes=2),
    "profile": _program("tools/gpu/profile_kernels.py", "--seconds", "{seconds}", minutes=4),
    "benchmark": _program("benchmarks/gpu.py", "--seconds", "{seconds}", minutes=8),
    "counters": counters,
    "sanitize": sanitize,
}
DEFAULT = ("tests", "context", "promises", "profile", "benchmark")


def main(*given: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--minutes", type=float, default=9, help="for all stages together")
    arguments = parser.parse_args(given)
    for stage in arguments.stages:
        if stage not in STAGES:
            parser.error(f"STAGE = {stage} is not one of {', '.join(STAGES)}")
    absent = missing()
    if absent:
        print("make gpu-check cannot run here: " + "; ".join(absent), file=sys.stderr)
        return 1
    check = Check(60 * arguments.minutes)
    if check.build():
        for stage in arguments.stages or DEFAULT:
            if check.seconds_left() < 5:
                check.fail(f"{stage} (no time was left for it)")
                continue
            STAGES[stage](check)
    print("== " + ("failed:\n" + "\n".join(check.failed) if check.failed else "all passed"))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
