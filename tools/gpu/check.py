"""What has to hold on a machine with a GPU, and how fast it is there: `make gpu-check`.

Builds the kernels without TensorFlow for the GPU that is there, runs their tests on it, runs a few
of them under compute-sanitizer where that is installed, and measures (benchmarks/gpu.py). Needs
nvcc, CMake, Ninja, and in this Python pybind11, NumPy, ml_dtypes, pytest and PyTorch; no network,
and nothing is installed. All parts run, whatever fails, within MINUTES together; the status is 1 if
any failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "gpu"
MINUTES = 9
# Of all the time: what each part may take at most, so that those after it have theirs.
BUILD_MINUTES, TEST_MINUTES, SANITIZER_MINUTES = 5.0, 2.0, 0.75
# A case of every test; see tests/kernels/cuda/conftest.py.
SANITIZED = "sanitized"


def missing() -> list[str]:
    """What the check needs and this machine has not, a sentence each."""
    sentences = []
    for program in ("cmake", "ninja"):
        if shutil.which(program) is None:
            sentences.append(f"{program} was not found")
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


class Check:
    """Runs one part after the other and remembers which failed."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.failed: list[str] = []

    def seconds_left(self) -> float:
        return self._end - time.monotonic()

    def run(self, what: str, command: list[str], minutes: float, **environment: str) -> bool:
        """Whether `command` succeeds in the minutes that it has."""
        seconds = min(60 * minutes, self.seconds_left())
        print(f"== {what}\n$ {' '.join(command)}", flush=True)
        started = time.monotonic()
        status: int | str
        try:
            status = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **environment}, timeout=max(seconds, 1)
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"not done after {seconds:.0f} s"
        print(f"== {what}: status {status}, {time.monotonic() - started:.0f} s", flush=True)
        if status != 0:
            self.failed.append(f"{what} ({status})")
        return status == 0


def main() -> int:
    absent = missing()
    if absent:
        print("make gpu-check cannot run here: " + "; ".join(absent), file=sys.stderr)
        return 1
    check = Check(60 * MINUTES)
    configure = [
        *("cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja"),
        *("-DFASTW2V_TENSORFLOW=OFF", "-DFASTW2V_CUDA=ON", f"-DFASTW2V_CUDA_CHIPS={chip()}"),
        *(f"-DFASTW2V_OUTPUT_DIR={BUILD}/fastw2v", f"-DPython_EXECUTABLE={sys.executable}"),
    ]
    if not (
        check.run("configure", configure, BUILD_MINUTES)
        and check.run("build", ["cmake", "--build", str(BUILD)], BUILD_MINUTES)
    ):
        return 1
    kernels = str(next((BUILD / "fastw2v").glob("_kernels*.so")))
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/cuda"]
    resources = [sys.executable, "tools/check_cuda_resources.py", str(BUILD)]
    check.run("registers and spills", resources, 1)
    check.run("tests", [*pytest, "--durations=5"], TEST_MINUTES, FASTW2V_KERNELS=kernels)
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        print("== compute-sanitizer is not installed: nothing was run under it")
    else:
        for tool in ("memcheck", "racecheck"):
            command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *pytest, "-m", SANITIZED]
            # PyTorch's allocator hands out parts of large blocks, whose ends nobody would watch.
            check.run(
                tool,
                command,
                SANITIZER_MINUTES,
                FASTW2V_KERNELS=kernels,
                PYTORCH_NO_CUDA_MEMORY_CACHING="1",
            )
    left = max(check.seconds_left(), 30)
    benchmark = [sys.executable, "benchmarks/gpu.py", "--seconds", f"{left - 15:.0f}"]
    check.run("benchmark", benchmark, left / 60, FASTW2V_KERNELS=kernels)
    print("== " + ("failed: " + "; ".join(check.failed) if check.failed else "all passed"))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
