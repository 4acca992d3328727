"""The include rule: csrc/core, csrc/cpu and csrc/cuda know neither TensorFlow nor Python.

There, "quoted" includes name files of these three directories and <angled> ones name headers of the
language or the system. Prints each line that breaks the rule and ends with status 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTORIES = ("csrc/core", "csrc/cpu", "csrc/cuda")
INCLUDE = re.compile(r"\s*#\s*include\s*(?P<open>[<\"])(?P<name>[^>\"]+)")
# Headers of the language and the system have no directory (<cstdint>) or that of <sys/mman.h>,
# and CUDA's libraries of parallel algorithms are <cub/...> and <thrust/...>;
# those of TensorFlow, its dependencies, pybind11 and NumPy have another one.
ANGLED = re.compile(r"(sys/)?[\w.]+|(cub|thrust)/[\w./]+")


def allowed(opening: str, name: str) -> bool:
    """Whether the rule lets a file of these directories include `name`."""
    if opening == '"':
        return name.startswith(tuple(f"{directory}/" for directory in DIRECTORIES))
    return ANGLED.fullmatch(name) is not None and name != "Python.h"


def main() -> int:
    broken = 0
    for path in sorted(file for folder in DIRECTORIES for file in (ROOT / folder).rglob("*.*")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            match = INCLUDE.match(line)
            if match and not allowed(match["open"], match["name"]):
                print(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
                broken += 1
    if broken:
        print(f"{broken} includes that {', '.join(DIRECTORIES)} may not have", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
