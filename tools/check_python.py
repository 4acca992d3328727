"""Says in a sentence why this Python cannot hold the virtual environment given as the argument."""

import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)


def problem(venv: Path) -> str:
    """The sentence, or nothing where all is well."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        return (
            f"{sys.executable} is Python {version}, fastw2v needs 3.10 to 3.13: name another one, "
            "for example make demo PYTHON=python3.12"
        )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        return (
            f"{sys.executable} has no module venv or ensurepip: install them, for example with "
            f"`apt install python{version}-venv`"
        )
    existing = sorted(venv.glob("lib/python3.*"))
    if existing and existing[0].name != f"python{version}":
        return (
            f"{venv} holds {existing[0].name} and {sys.executable} is Python {version}: delete "
            f"{venv} or name another directory, for example VENV=.venv-{version}"
        )
    return ""


if __name__ == "__main__":
    sys.exit(problem(Path(sys.argv[1])) or 0)
