"""Runs the shell blocks of README.md, in a fresh virtual environment, from the checkout.

`make` commands are left to the caller, who runs them anyway; this checks that they exist.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines() if line.strip()]
    if not commands:
        sys.exit("README.md has no shell block")
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        path = os.pathsep.join([str(Path(directory, "bin")), os.environ["PATH"]])
        for command in commands:
            if command.startswith("make "):
                command = command.replace("make ", "make --dry-run ", 1)
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
    main()
