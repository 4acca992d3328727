"""Fetches what an op library is compiled against, for each supported TensorFlow.

Usage: fetch_tensorflow.py DIRECTORY

pip downloads the package of each minor version in fastw2v/_core/supported.py from the index that it
is set up for, for this Python. Its headers, libtensorflow_framework.so.2 and metadata are unpacked
into DIRECTORY, nothing is installed. Prints the value of FASTW2V_TENSORFLOW_DIR for a build for all
of them; what is there already is not fetched again.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = runpy.run_path(str(ROOT / "fastw2v" / "_core" / "supported.py"))
# As cmake/find_tensorflow.py reads them.
NEEDED = re.compile(
    r"tensorflow/(include/.*|libtensorflow_framework\.so\.2|python/platform/build_info\.py)"
    r"|[^/]+\.dist-info/(METADATA|RECORD)"
)


def download(minor: str, directory: Path) -> Path:
    """The wheel of a minor version of TensorFlow."""
    wanted = f"{SUPPORTED['distribution']()}=={minor}.*"
    print(f"downloading {wanted}, about 260 MB", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(directory)]
    if subprocess.run([*command, wanted], stdout=sys.stderr).returncode != 0:
        raise SystemExit(f"error: pip could not download {wanted}; its message is above")
    return next(directory.glob("*.whl"))


def unpack(wheel: Path, directory: Path) -> None:
    """Unpacks the members that are needed, all or nothing."""
    unfinished = directory.with_name(directory.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if NEEDED.fullmatch(name)]
        archive.extractall(unfinished, members)
    unfinished.rename(directory)


def main(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    found = [directory / minor for minor in SUPPORTED["TENSORFLOW"]]
    for each in found:
        if not each.exists():
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                unpack(download(each.name, Path(scratch)), each)
    print(os.pathsep.join(map(str, found)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: fetch_tensorflow.py DIRECTORY")
    main(Path(sys.argv[1]).resolve())
