"""Registers and spills of each CUDA kernel, and the instructions that a path is written for.

Usage: check_cuda_resources.py BUILD_DIRECTORY

Reads what the assembler said of each kernel (the build leaves it beside the objects, see
cmake/ptxas_report.py) and prints a line per kernel with its numbers for each chip. Where cuobjdump
is on the path it also looks for the instructions of INSTRUCTIONS. Ends with status 1 where a hot
kernel spills registers or an instruction is missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

# Kernels that may spill: float64 is a path to compare with, and the sort is the toolkit's.
COLD = re.compile(r"\bdouble\b|^(void )?cub::|^(void )?(at_)?thrust::")

# By source, for each chip: what its machine code must hold. Tensor-core products, copies into
# shared memory in the background, loads of fragments; on Hopper warpgroup products and TMA.
PORTABLE = ("sm_80", "sm_86", "sm_89", "sm_90")
INSTRUCTIONS = {
    "exact_loss": dict.fromkeys(PORTABLE, ("HMMA", "LDGSTS", "LDSM", "MUFU.EX2")),
    "exact_backward_hopper": {"sm_90a": ("HGMMA", "UTMALDG", "MUFU.EX2")},
    "exact_forward_hopper": {"sm_90a": ("HGMMA", "UTMALDG", "MUFU.EX2")},
    "logit_gradients_hopper": {"sm_90a": ("HGMMA", "UTMALDG", "MUFU.EX2")},
    "sampled_loss": dict.fromkeys(PORTABLE, ("HMMA", "LDGSTS")),
}

_ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass
class Resources:
    """What one kernel needs on one chip."""

    kernel: str
    chip: str
    registers: int = 0
    stack: int = 0
    spilled: int = 0

    @property
    def hot(self) -> bool:
        return COLD.search(self.kernel) is None


def parse(report: str) -> list[Resources]:
    """The kernels of a report of the assembler, by their mangled names."""
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


def missing_instructions(sass: str, wanted: dict[str, tuple[str, ...]]) -> list[str]:
    """Which of the `wanted` instructions the machine code of which chip does not hold."""
    missing = []
    sections = re.split(r"^\s*arch = (\w+)\s*$", sass, flags=re.MULTILINE)
    code = defaultdict(str)
    for chip, text in zip(sections[1::2], sections[2::2], strict=True):
        code[chip] += text
    for chip, instructions in wanted.items():
        for instruction in instructions:
            if instruction not in code[chip]:
                missing.append(f"{instruction} for {chip}")
    return missing


def main(directory: str) -> int:
    reports = sorted(Path(directory).rglob("*.ptxas"))
    if not reports:
        print(f"no reports of the assembler in {directory}: build the CUDA part there")
        return 1
    kernels, failures = [], []
    for report in reports:
        found = parse(report.read_text(encoding="utf-8"))
        for kernel, name in zip(found, short_names([k.kernel for k in found]), strict=True):
            kernel.kernel = name
        kernels += found
    print("\n".join(table(kernels)))
    failures += [
        f"{kernel.kernel} spills {kernel.spilled} bytes on {kernel.chip}"
        for kernel in kernels
        if kernel.hot and kernel.spilled
    ]
    cuobjdump = shutil.which("cuobjdump")
    if cuobjdump is None:
        print("the machine code was not looked at: there is no cuobjdump on the path")
    for report in reports if cuobjdump else []:
        object_file = report.with_suffix("")
        wanted = INSTRUCTIONS.get(object_file.name.split(".")[0], {})
        if not wanted:
            continue
        sass = subprocess.run(
            [cuobjdump, "-sass", str(object_file)], check=True, capture_output=True, text=True
        ).stdout
        failures += [
            f"{object_file.name} has no {what}" for what in missing_instructions(sass, wanted)
        ]
    most = max(kernel.registers for kernel in kernels)
    print(f"{len(kernels)} kernels for their chips, at most {most} registers")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
