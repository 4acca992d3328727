"""Writes docs/design/kernels.md: of each kernel of csrc/cuda what has been done with it.

    FASTW2V_EMULATED_LOG=build/emulated.log pytest tests/kernels/cuda   # on emulated kernels
    python tools/write_kernels_page.py --emulated build/emulated.log LIBRARY

The kernels are those that the sources define. LIBRARY is the emulated `_kernels` that wrote the
log, whose symbols say which kernels ran; without them the page's own entries are kept. What a GPU
has shown is read from benchmarks/results: gpu_tests_<device>.csv of `make gpu-check` has the files
of tests that passed, gpu_kernels_<device>.csv of tools/gpu/profile_kernels.py the kernels timed.
With --check nothing is written; status 1 says that the page has other kernels than the sources.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "csrc" / "cuda"
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "design" / "kernels.md"

PORTABLE = "8.0 to 9.0, PTX"
HOPPER = "9.0a"

# The files of tests that have to pass for a kernel to count as run: of the first line that the
# file of the kernel begins with.
TESTS = {
    "loss/exact/": ("exact_loss", "softmax_parts"),
    "loss/hopper/": ("exact_loss_hopper",),
    "loss/sampled/": ("sampled_loss",),
    "loss/add_parts": ("exact_loss", "sampled_loss"),
    "loss/softmax_parts": ("softmax_parts",),
    "loss/stored_logits": ("exact_loss", "block_loss", "sampled_loss"),
    "loss/top_k": ("top_k",),
    "optimizer/": ("optimizer",),
    "rows/elementwise": ("elementwise",),
    "rows/": ("gather", "sampled_loss", "optimizer"),
    "sampler/": ("sampler",),
    "text/": ("skipgram",),
}

HEAD = """\
# What has been done with each kernel

Written by `tools/write_kernels_page.py`. *Compiled*: the compute capabilities that nvcc makes
machine code for. *Emulated*: tests have run it on the processor ([how](cuda.md)). *On a GPU*: its
tests have passed there, on the devices named. *Measured*: its time is in `benchmarks/results`.

| kernel | file in `csrc/cuda` | compiled | emulated | on a GPU | measured |
|---|---|---|---|---|---|
"""
_KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\("
)


def kernels() -> dict[tuple[str, str], str]:
    """The chips that each kernel, by file and name, is compiled for."""
    found = {}
    for file in sorted([*SOURCES.rglob("*.cu"), *SOURCES.rglob("*.h")]):
        name = str(file.relative_to(SOURCES))
        if name.startswith("emulated/"):
            continue
        for kernel in _KERNEL.findall(file.read_text(encoding="utf-8")):
            if name.startswith("loss/hopper/"):  # names of both kinds are alike
                found[name, f"hopper::{kernel}"] = HOPPER
            else:
                found[name, kernel] = PORTABLE
    return found


def short(symbol: str) -> str:
    """The name of a kernel, as `kernels` has it, in that of an instantiation."""
    plain = symbol.removeprefix("void ").replace("(anonymous namespace)::", "")
    plain = re.split("[<(]", plain)[0]
    return ("hopper::" if "hopper::" in plain else "") + plain.split("::")[-1]


def emulated(log: Path, library: Path) -> set[str]:
    """The names of the kernels whose places in a library stand in a log."""
    places = {int(line, 16) for line in log.read_text(encoding="utf-8").split()}
    listed = subprocess.run(
        ["nm", "--demangle", "--defined-only", library], capture_output=True, text=True, check=True
    )
    names = set()
    for line in listed.stdout.splitlines():
        place, _, symbol = line.split(" ", 2)
        if int(place, 16) in places:
            names.add(short(symbol))
    return names


def tests_of(file: str) -> tuple[str, ...]:
    """Of a kernel in that file."""
    for begin, tests in TESTS.items():
        if file.startswith(begin):
            return tests
    raise SystemExit(f"{file} is of no subject that TESTS in {Path(__file__).name} names")


def rows(results: Path, kind: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The device and a line of each CSV of a kind."""
    for path in sorted(results.glob(f"gpu_{kind}_*.csv")):
        device = path.stem.removeprefix(f"gpu_{kind}_").replace("_", " ")
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield device, row


def page(ran: set[str], results: Path) -> str:
    """The page, for the names of the kernels that ran emulated."""
    passed: dict[str, set[str]] = {}
    for device, row in rows(results, "tests"):
        if row["good"] == "yes":
            passed.setdefault(device, set()).add(row["file"])
    measured: dict[str, set[str]] = {}
    for device, row in rows(results, "kernels"):
        measured.setdefault(short(row["kernel"]), set()).add(device)
    lines = []
    for (file, kernel), chips in kernels().items():
        needed = {f"test_{name}.py" for name in tests_of(file)}
        devices = sorted(device for device, files in passed.items() if needed <= files)
        cells = [
            *(f"`{kernel}`", f"`{file}`", chips, "yes" if kernel in ran else "no"),
            *(", ".join(devices) or "no", ", ".join(sorted(measured.get(kernel, ()))) or "no"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def listed(text: str) -> dict[tuple[str, str], bool]:
    """The kernels of a page, by file and name, and whether they ran emulated."""
    found = re.findall(r"^\| `([\w:]+)` \| `([\w/.]+)` \| [^|]+ \| (yes|no) \|", text, re.M)
    return {(file, kernel): ran == "yes" for kernel, file, ran in found}


def main(*given: str) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument(
        "--emulated", nargs=2, type=Path, metavar=("LOG", "LIBRARY"), help="which kernels ran"
    )
    arguments = parser.parse_args(given)
    before = listed(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    if arguments.check:
        if set(before) == set(kernels()):
            return 0
        print("docs/design/kernels.md has other kernels than csrc/cuda: run this program")
        return 1
    if arguments.emulated:
        ran = emulated(*arguments.emulated)
    else:
        ran = {kernel for (_, kernel), yes in before.items() if yes}
    PAGE.write_text(page(ran, RESULTS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
