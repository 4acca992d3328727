"""Registers and spills of each CUDA kernel, and the instructions that it is written for.

Usage: check_cuda_resources.py BUILD_DIRECTORY [--sass]

Reads what the assembler said of each kernel (the build leaves it beside the objects, see
cmake/ptxas_report.py) and prints a line per kernel with its numbers for each chip. With --sass it
also has cuobjdump write the machine code of the hot kernels and looks for INSTRUCTIONS. Ends with
status 1 where a hot kernel spills registers or lacks an instruction.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

# Kernels that may spill: float64 is a path to compare with, and the sort is the toolkit's.
COLD = re.compile(r"\bdouble\b|^(void )?cub::|^(void )?(at_)?thrust::")

# What the machine code of kernels must hold, by their names. Products run on tensor cores (HMMA; by
# warpgroups, HGMMA) on what copies in the background (LDGSTS; by TMA, UTMALDG) bring; fragments of
# 16-bit operands are loaded by LDSM, exponentials are MUFU.EX2, and rows of float32 whose width and
# address allow it are read and written by 16 bytes.
INSTRUCTIONS = {
    r"(Logits|FusedGradient)<": ("HMMA", "LDGSTS", "LDSM", "MUFU.EX2"),
    r"(Sum|Differentiate)LogitsKernel<": ("LDG.E.128", "MUFU.EX2"),
    r"DifferentiateLogitsKernel<\w+<float[^>]*>, float, ": ("STG.E.128",),
    r"hopper::(Forward|Backward|LogitGradients)Kernel<": ("HGMMA", "UTMALDG", "MUFU.EX2"),
    r"(Gather|Update)Kernel<float, float, 4>": ("LDG.E.128", "STG.E.128"),
    r"OwnListKernel<float, 4, true>": ("LDG.E.128", "STG.E.128"),
    r"SumRowsKernel<float, 4, \w+<float>": ("LDG.E.128", "STG.E.128"),
    r"FindKernel<float, 4>": ("LDG.E.128",),
}
# Chips whose machine code is read: 8.6 and 8.9 are assembled from the same PTX as 8.0 and 9.0.
CHIPS = ("sm_80", "sm_90", "sm_90a")

_ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass
class Resources:
    """What one kernel needs on one chip."""

    symbol: str
    chip: str
    kernel: str = ""  # its name in the source
    registers: int = 0
    stack: int = 0
    spilled: int = 0

    @property
    def hot(self) -> bool:
        return COLD.search(self.kernel) is None


def parse(report: str) -> list[Resources]:
    """The kernels of a report of the assembler, by their symbols."""
    found: list[Resources] = []
    for line in report.splitlines():
        if match := _ENTRY.search(line):
            found.append(Resources(match[1], match[2]))
        elif found and (match := _STACK.search(line)):
            found[-1].stack = int(match[1])
            found[-1].spilled = int(match[2]) + int(match[3])
        elif found and (match := _REGISTERS.search(line)):
            found[-1].registers = int(match[1])
    return found


def short_names(mangled: list[str]) -> list[str]:
    """Names as in the source, without namespaces of ours and arguments."""
    if not mangled:
        return []
    done = subprocess.run(
        ["c++filt", "--no-params"], input="\n".join(mangled), capture_output=True, text=True
    )
    names = done.stdout.splitlines() if done.returncode == 0 else mangled
    return [
        re.sub(r"fastw2v::cuda::|fastw2v::|\(anonymous namespace\)::|_GLOBAL__N__\w+::", "", name)
        for name in names
    ]


def table(kernels: list[Resources]) -> list[str]:
    """A line per kernel: registers for each chip, and what it spills."""
    by_name = defaultdict(list)
    for kernel in kernels:
        by_name[kernel.kernel].append(kernel)
    lines = []
    for name, chips in sorted(by_name.items()):
        numbers = []
        for each in sorted(chips, key=lambda each: each.chip):
            spilled = f", {each.spilled} bytes spilled" if each.spilled else ""
            numbers.append(f"{each.chip.removeprefix('sm_')}: {each.registers}{spilled}")
        lines.append(f"{name}  registers {'; '.join(numbers)}")
    return lines


def wanted_instructions(kernel: str) -> list[str]:
    """Of a kernel, by its name in the source."""
    return [
        instruction
        for pattern, instructions in INSTRUCTIONS.items()
        if re.match(pattern, kernel)
        for instruction in instructions
    ]


def find_cuobjdump() -> str | None:
    """That of the Python package, of the path or of the toolkit."""
    packages = Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin")
    folders = [*map(str, packages), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    return shutil.which("cuobjdump", path=os.pathsep.join(folders))


def machine_code(cuobjdump: str, object_file: Path, chip: str) -> dict[str, str]:
    """Of each kernel of an object for one chip, by its symbol."""
    command = [cuobjdump, "-sass", "-arch", chip, str(object_file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    sections = re.split(r"^\s*Function : (\S+)$", done.stdout, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True))


def missing_instructions(kernels: list[Resources], code: dict[str, str]) -> Iterator[str]:
    """What kernels lack in their machine code, on one chip."""
    for kernel in kernels:
        text = code.get(kernel.symbol, "")
        for instruction in wanted_instructions(kernel.kernel):
            if not re.search(rf"\s{re.escape(instruction)}\b", text):
                yield f"{kernel.kernel} has no {instruction} on {kernel.chip}"


def check_machine_code(kernels: dict[Path, list[Resources]]) -> list[str]:
    """What is wrong with the machine code of the kernels of each object."""
    cuobjdump = find_cuobjdump()
    if cuobjdump is None:
        return ["there is no cuobjdump: install the Python package nvidia-cuda-cuobjdump"]
    hot = [kernel for found in kernels.values() for kernel in found if kernel.hot]
    failures = [
        f"no kernel is named {pattern}"
        for pattern in INSTRUCTIONS
        if not any(re.match(pattern, kernel.kernel) for kernel in hot)
    ]
    jobs = defaultdict(list)
    for object_file, found in kernels.items():
        for kernel in found:
            if kernel.hot and kernel.chip in CHIPS and wanted_instructions(kernel.kernel):
                jobs[object_file, kernel.chip].append(kernel)

    def check(job: tuple[Path, str]) -> list[str]:
        return list(missing_instructions(jobs[job], machine_code(cuobjdump, *job)))

    # Largest first, so that no processor is left alone with it.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for missing in pool.map(check, sorted(jobs, key=lambda job: -job[0].stat().st_size)):
            failures += missing
    checked = sum(map(len, jobs.values()))
    print(f"the machine code of {checked} kernels was read")
    return failures


def main(directory: str, *options: str) -> int:
    reports = sorted(Path(directory).rglob("*.ptxas"))
    if not reports:
        print(f"no reports of the assembler in {directory}: build the CUDA part there")
        return 1
    by_object = {}
    for report in reports:
        found = parse(report.read_text(encoding="utf-8"))
        for kernel, name in zip(found, short_names([k.symbol for k in found]), strict=True):
            kernel.kernel = name
        by_object[report.with_suffix("")] = found
    kernels = [kernel for found in by_object.values() for kernel in found]
    print("\n".join(table(kernels)))
    failures = [
        f"{kernel.kernel} spills {kernel.spilled} bytes on {kernel.chip}"
        for kernel in kernels
        if kernel.hot and kernel.spilled
    ]
    if "--sass" in options:
        failures += check_machine_code(by_object)
    most = max(kernel.registers for kernel in kernels)
    print(f"{len(kernels)} kernels for their chips, at most {most} registers")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
