"""Refuses objects of one instruction set that define functions which other objects may define too.

Usage: check_isa_symbols.py NM ISA OBJECT...

Of an inline function or template that several objects define, the linker keeps one copy, and it may
be the one compiled for instructions that the processor lacks. So every weak function of these
objects has to belong to the namespace named after the instruction set.
"""

from __future__ import annotations

import re
import subprocess
import sys


def shared_functions(nm_output: str, isa: str) -> list[str]:
    """Names of the weak functions in `nm_output` that lie outside the namespace `isa`."""
    weak = re.findall(r"^[0-9a-f]+ W (.+)$", nm_output, re.MULTILINE)
    return [name for name in weak if f"::{isa}::" not in name]


def main(nm: str, isa: str, *objects: str) -> None:
    output = subprocess.run(
        [nm, "--demangle", "--defined-only", *objects], check=True, capture_output=True, text=True
    ).stdout
    shared = shared_functions(output, isa)
    if shared:
        raise SystemExit(
            f"the kernels for {isa} define functions outside their own namespace, of which the "
            f"linker may keep this copy for all processors: {'; '.join(shared)}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
