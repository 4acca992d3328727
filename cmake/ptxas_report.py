"""Runs a compiler of CUDA, and keeps what the assembler says of registers beside the object.

Usage: ptxas_report.py COMMAND..., as CMake's launcher of nvcc, which is given -Xptxas=-v. The lines
of the report go to OBJECT.ptxas, for tools/check_cuda_resources.py; all others are printed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_REPORT = re.compile(r"^(ptxas info|\s+\d+ bytes stack frame|\s+Function properties|\s*$)")


def split(output: str) -> tuple[str, str]:
    """The lines of the report, and the others."""
    report, others = [], []
    for line in output.splitlines(keepends=True):
        (report if _REPORT.match(line) else others).append(line)
    return "".join(report), "".join(others)


def main(command: list[str]) -> int:
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    report, others = split(done.stderr)
    sys.stderr.write(others)
    if done.returncode == 0 and "-o" in command:
        Path(command[command.index("-o") + 1] + ".ptxas").write_text(report, encoding="utf-8")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
