"""The include rules: which directory of csrc may include which, and that the core knows no others.

`MAY_INCLUDE` is the order of the directories: includes point downward. csrc/core, csrc/cpu and
csrc/cuda know neither TensorFlow nor Python: there, "quoted" includes name files of csrc and
<angled> ones name headers of the language or the system. Prints each line that breaks a rule and
ends with status 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A directory's files may include those beside them, of csrc/core, and of these directories.
MAY_INCLUDE: dict[str, tuple[str, ...]] = {
    "core": (),
    "cpu/kernels": (),
    "cpu/isa": ("cpu/kernels",),
    "cpu/rows": ("cpu/kernels",),
    "cpu/loss": ("cpu/kernels", "cpu/rows"),
    "cpu/optimizer": ("cpu/kernels",),
    "cpu/sampler": (),
    "cpu/text": (),
    "cpu/word2vec": ("cpu/kernels",),
    "cuda/device": (),
    "cuda/rows": ("cuda/device",),
    "cuda/loss": ("cuda/device", "cuda/rows"),
    "cuda/loss/hopper": ("cuda/device", "cuda/loss"),
    "cuda/loss/exact": ("cuda/device", "cuda/loss", "cuda/loss/hopper"),
    "cuda/loss/sampled": ("cuda/device", "cuda/rows", "cuda/loss"),
    "cuda/optimizer": ("cuda/device", "cuda/rows"),
    "cuda/sampler": ("cuda/device",),
    "cuda/text": ("cuda/device", "cuda/rows"),
    "cuda/emulated": ("cuda/device", "cuda/rows"),
    "tensorflow/support": ("cuda/device",),
    "tensorflow/gather": ("cuda/rows", "tensorflow/support"),
    "tensorflow/loss": ("cuda/loss", "cuda/rows", "tensorflow/support"),
    "tensorflow/optimizer": ("cuda/optimizer", "cuda/rows", "tensorflow/support"),
    "tensorflow/train_step": (
        "cuda/optimizer",
        "tensorflow/loss",
        "tensorflow/optimizer",
        "tensorflow/support",
    ),
    "tensorflow/sampler": ("cuda/sampler", "tensorflow/support"),
    "tensorflow/text": ("tensorflow/support",),
    "tensorflow/word2vec": ("tensorflow/support",),
    "python": ("cpu/kernels",),
    "python/package": ("python",),
    "python/testing": ("python",),
    "python/testing/cuda": (
        "cuda/device",
        "cuda/loss",
        "cuda/loss/hopper",
        "cuda/optimizer",
        "cuda/rows",
        "cuda/sampler",
        "cuda/text",
        "python",
        "python/testing",
    ),
}
# What stands for the device in the emulated build is chosen where the device is declared.
EXCEPTIONS = {("cuda/device", "cuda/emulated")}
INCLUDE = re.compile(r"\s*#\s*include\s*(?P<open>[<\"])(?P<name>[^>\"]+)")
# Headers of the language and the system have no directory (<cstdint>) or that of <sys/mman.h>,
# and CUDA's libraries of parallel algorithms are <cub/...> and <thrust/...>;
# those of TensorFlow, its dependencies, pybind11 and NumPy have another one.
ANGLED = re.compile(r"(sys/)?[\w.]+|(cub|thrust)/[\w./]+")


def allowed(directory: str, opening: str, name: str) -> bool:
    """Whether a file of this directory of csrc may include `name`."""
    knows_others = directory.startswith(("tensorflow", "python"))
    if opening == "<":
        return knows_others or (ANGLED.fullmatch(name) is not None and name != "Python.h")
    if not name.startswith("csrc/"):
        return knows_others
    included = str(Path(name).parent.relative_to("csrc"))
    known = ("core", directory, *MAY_INCLUDE[directory])
    return included in known or (directory, included) in EXCEPTIONS


def main() -> int:
    broken = 0
    for path in sorted((ROOT / "csrc").rglob("*.*")):
        directory = str(path.parent.relative_to(ROOT / "csrc"))
        if directory not in MAY_INCLUDE:
            print(f"{path.relative_to(ROOT)}: its directory is not among MAY_INCLUDE")
            broken += 1
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            match = INCLUDE.match(line)
            if match and not allowed(directory, match["open"], match["name"]):
                print(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
                broken += 1
    if broken:
        print(f"{broken} includes break the rules of {Path(__file__).name}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
