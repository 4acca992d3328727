"""The blocks of code in the documentation, and a program that runs those of one page.

The blocks of a page run one after another in one process and one directory, as a reader runs them:
Python in one namespace, `sh` as a script. A comment `<!-- not run: why -->` before a block leaves
it out. `python tests/pages.py PAGE` runs a page.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
# Their commands install packages or run programs of the checkout: tools/run_readme.py runs them.
RUN_BY_THE_TOOL = (README, DOCS / "installation.md", DOCS / "examples.md")
_BLOCK = re.compile(r"^(<!-- not run: [^\n]+ -->\n+)?```(python|sh)\n(.*?)^```", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of the blocks that are to run."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for skipped, language, text in found if not skipped]


def python_of(page: Path) -> str:
    """The Python blocks of a page as one program."""
    return "\n".join(text for language, text in blocks(page) if language == "python")


def pages() -> list[Path]:
    """The pages of the site that have blocks to run.

    The programs of docs/gradients fail on purpose, and tools/write_gradients_page.py has run them.
    """
    return [
        page
        for page in sorted(DOCS.rglob("*.md"))
        if page.parent.name != "gradients" and page not in RUN_BY_THE_TOOL and blocks(page)
    ]


def main(page: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for language, text in blocks(page):
        if language == "sh":
            subprocess.run(["sh", "-euc", text], check=True)
        else:
            exec(compile(text, str(page), "exec"), namespace)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
