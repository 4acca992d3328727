"""Runs the shell blocks of README.md and of the pages that need a checkout, in a fresh environment.

Usage: run_readme.py [WHEEL]

Blocks run from the checkout, in the order of the pages. What two pages have both runs once. `make`
commands are left to the caller, who runs them anyway; this checks that they exist. Where a WHEEL is
named, `pip install .` installs it instead: the compilation is left to the caller too.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# tests/test_documents.py runs the other pages.
PAGES = ("README.md", "docs/installation.md", "docs/examples.md")


def main(wheel: str = ".") -> None:
    commands: list[str] = []
    for page in PAGES:
        blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
        if not blocks:
            sys.exit(f"{page} has no shell block")
        lines = [line for block in blocks for line in block.splitlines() if line.strip()]
        commands += [line for line in lines if line not in commands]
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        path = os.pathsep.join([str(Path(directory, "bin")), os.environ["PATH"]])
        for command in commands:
            if command.startswith("make "):
                command = command.replace("make ", "make --dry-run ", 1)
            if command == "pip install .":
                command = f"pip install {shlex.quote(wheel)}"
            print(f"$ {command}", flush=True)
            output = subprocess.DEVNULL if "--dry-run" in command else None
            subprocess.run(
                command,
                shell=True,
                check=True,
                cwd=ROOT,
                env={**os.environ, "PATH": path},
                stdout=output,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
