"""Finds words in prose that readers stumble over: those of tools/words.txt.

Prose is the text of Markdown files, outside of code, in Python docstrings, comments and the
strings that have a blank: messages and help, and in C++ comments. Prints each place and what to
write instead, and ends with status 1 if there is one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = ROOT / "tools" / "words.txt"
DOCUMENTS = ("*.md", "docs/**/*.md")
CORE = ("csrc/**/*.h", "csrc/**/*.cc", "csrc/**/*.cu")
PROGRAMS = ("fastw2v/**/*.py", "examples/*.py", "benchmarks/*.py", "tools/**/*.py", "docs/conf.py")
# The reports there quote programs, and their sentences are those of fastw2v/doctor.
QUOTED = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


def word_list(text: str) -> list[tuple[re.Pattern[str], str]]:
    """The expressions of a word list with their remarks."""
    words = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            expression, arrow, remark = line.partition(" -> ")
            if not arrow:
                raise ValueError(f"{WORDS}: {line!r} has no arrow")
            # An underscore or a dot makes a name of a word: model.met, met_before.
            words.append((re.compile(rf"(?<![\w.])({expression})(?![\w.]\w|_)\b", re.I), remark))
    return words


def document(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a Markdown file, without code."""
    blank = QUOTED.sub(lambda quoted: re.sub(r"[^\n]", " ", quoted[0]), text)
    yield from enumerate(blank.splitlines(), 1)


def program(text: str) -> Iterator[tuple[int, str]]:
    """The lines of docstrings, comments and messages of a Python program."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`[^`]*`", "", token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.splitlines()):
                yield node.lineno + number, re.sub(r"`[^`]*`", "", line)


def core(text: str) -> Iterator[tuple[int, str]]:
    """The lines of the comments of a C++ file."""
    for number, line in enumerate(text.splitlines(), 1):
        if comment := re.search(r"(?:^|\s)//(.*)", line):
            yield number, re.sub(r"`[^`]*`", "", comment[1])


def found(path: Path, words: list[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    """A line for each word of the list in a file."""
    lines = {".md": document, ".py": program}.get(path.suffix, core)
    for number, line in lines(path.read_text(encoding="utf-8")):
        for pattern, remark in words:
            if match := pattern.search(line):
                yield f"{path.relative_to(ROOT)}:{number}: {match[0]!r}: {remark}"


def main() -> int:
    words = word_list(WORDS.read_text(encoding="utf-8"))
    paths = {path for pattern in (*DOCUMENTS, *PROGRAMS, *CORE) for path in ROOT.glob(pattern)}
    problems = [line for path in sorted(paths) for line in found(path, words)]
    print("\n".join(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
