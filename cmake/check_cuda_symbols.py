"""Whether objects of the CUDA part define each function of it that they call, as a linker asks.

Usage: check_cuda_symbols.py NM OBJECT...

So that a kernel that is not instantiated is found without the rest of an op library.
"""

from __future__ import annotations

import subprocess
import sys


def symbols(nm: str, which: str, objects: list[str]) -> set[str]:
    """Functions of fastw2v::cuda that objects define, or that they do not ("undefined")."""
    command = [nm, "--demangle", "--format=posix", f"--{which}-only", *objects]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = (line.rpartition(")")[0] for line in output.splitlines())
    return {f"{name})" for name in names if "fastw2v::cuda::" in name.partition("(")[0]}


def main(nm: str, *objects: str) -> None:
    wanted = symbols(nm, "undefined", list(objects))
    missing = wanted - symbols(nm, "defined", list(objects))
    if missing or not wanted:
        raise SystemExit(
            f"of {len(wanted)} functions of the CUDA part there is no {sorted(missing)}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
