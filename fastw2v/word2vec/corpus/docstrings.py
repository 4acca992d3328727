"""English prose from the docstrings of the installed Python packages.

Every machine that runs this library holds some millions of words of English in the docstrings of
its packages and of the standard library: enough to train word vectors on without a download. A
docstring also holds code, doctests, tables and parameter lists; `prose` leaves the sentences.
"""

from __future__ import annotations

import ast
import gc
import inspect
import os
import pickle
import re
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

# Directories that are not the packages themselves. Tests are much code and few docstrings: a third
# of the time for a twentieth of the words.
_OTHER_DIRECTORIES = {"__pycache__", "dist-packages", "site-packages", "test", "tests"}

_FENCE = re.compile(r"```|~~~")
_CODE_DIRECTIVE = re.compile(
    r"\.\. *(?:_|autosummary|code|csv-table|doctest|figure|graphviz|highlight|image|index|ipython"
    r"|list-table|math|parsed-literal|plot|productionlist|sourcecode|table|testcode|toctree)"
)
_DIRECTIVE = re.compile(r"\.\. *[\w-]+::")
_HEADING = re.compile(r"[\w` ]{1,40}:")
_NUMPY_PARAMETER = re.compile(r"[\w.*`'\", ]+ :(?: |$)")
_SPHINX_FIELD = re.compile(r":(\w+)[^:]*:\s+")
_ITEM = re.compile(r"`?[\w.*-]+`?(?: \([^)]*\))?:\s+|[-*+•]\s+|\(?\d+[.)]\s+")
_ROLE = re.compile(r":[\w:+-]+:(?=`)")
_CODE_WORD = re.compile(r"[\d_\\\0]|\w[^\w\s'’-]+\w|\(\)")
_WORD = re.compile(r"[^\W\d_]+")


def prose(docstring: str) -> list[str]:
    """Returns the paragraphs of a docstring that read as English, each on one line.

    Left out: doctests, fenced and literal code, tables, headings, parameter and type lines, words
    that are code (`tf.nn.relu`, `num_sampled`, `axis=0`), and paragraphs that are mostly such.

    Example:
        >>> prose("Opens the file.\\n\\nArgs:\\n  path: Where the file lies.\\n\\n>>> open(1)\\n2")
        ['Opens the file.', 'Where the file lies.']
    """
    return [text for lines in _paragraphs(docstring) if (text := _sentences(lines))]


def _paragraphs(docstring: str) -> Iterator[list[str]]:
    """Yields the lines of each paragraph, without the lines that are code or layout."""
    paragraph: list[str] = []
    in_fence = in_doctest = False
    literal_indent = -1  # lines further right than this are literal; -1: none are
    for line in inspect.cleandoc(docstring).splitlines():
        text = line.strip()
        if _FENCE.match(text):
            in_fence = not in_fence
            text = ""
        elif in_fence:
            continue
        if not text:
            in_doctest = False
            yield paragraph
            paragraph = []
            continue
        indent = len(line) - len(line.lstrip())
        if 0 <= literal_indent < indent:
            continue
        literal_indent = -1
        in_doctest = in_doctest or text.startswith(">>>")
        if in_doctest:
            continue
        if _CODE_DIRECTIVE.match(text):
            literal_indent = indent
            continue
        if not _WORD.search(text):
            if len(paragraph) == 1:  # a line that is underlined is a heading
                paragraph = []
            continue
        if _HEADING.fullmatch(text) or _NUMPY_PARAMETER.match(text):
            yield paragraph
            paragraph = []
            continue
        if directive := _DIRECTIVE.match(text):
            text = text[directive.end() :].lstrip()
        elif text.endswith("::"):
            literal_indent = indent
        if field := _SPHINX_FIELD.match(text):
            yield paragraph
            paragraph = []
            text = "" if field[1] in ("type", "rtype") else text[field.end() :]
        elif item := _ITEM.match(text):
            yield paragraph
            paragraph = []
            text = text[item.end() :]
        if not text.startswith("|") and "   " not in text:  # else the row of a table
            paragraph.append(text)
    yield paragraph


def _sentences(lines: list[str]) -> str:
    """Joins the lines of a paragraph; empty if it is too short or mostly code."""
    words = _ROLE.sub("", " ".join(lines)).split()
    english = [word for word in words if not _CODE_WORD.search(word)]
    if len(english) < 3 or 2 * len(english) < len(words):
        return ""
    return " ".join(english)


def docstrings(source: bytes | str) -> list[str]:
    """Returns the docstrings of a module's source, of its classes and of its functions.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: The source cannot be parsed.

    Example:
        >>> docstrings("'''A module.'''\\ndef f():\\n    '''A function.'''")
        ['A module.', 'A function.']
    """
    found = []
    nodes: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]
    nodes = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        docstring = ast.get_docstring(node, clean=False)
        if docstring is not None:
            found.append(docstring)
        nodes.extend(
            child
            for child in reversed(node.body)
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        )
    return found


def package_directories() -> list[Path]:
    """Returns the directories that hold the standard library and the installed packages."""
    paths = [sysconfig.get_path("stdlib")]
    paths += [path for path in sys.path if Path(path).name in ("dist-packages", "site-packages")]
    return list(dict.fromkeys(Path(path) for path in paths if os.path.isdir(path)))


def python_files(directories: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Returns the Python files below some directories, tests left out, in alphabetical order."""
    files: set[Path] = set()
    for directory in directories:
        for folder, subfolders, names in os.walk(directory):
            subfolders[:] = [name for name in subfolders if name not in _OTHER_DIRECTORIES]
            files.update(
                Path(folder, name)
                for name in names
                if name.endswith(".py") and not name.startswith("test_")
                if not name.endswith("_test.py")
            )
    return sorted(files)


def _read_file(path: Path) -> tuple[int, list[str]] | None:
    """Returns the number of docstrings of a file and their prose; None if it is unreadable."""
    try:
        source = path.read_bytes()
        # Parsing is slow and searching is not.
        found = docstrings(source) if b'"""' in source or b"'''" in source else []
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return len(found), [text for docstring in found for text in prose(docstring)]


def _work() -> None:
    """Reads paths from standard input and writes what `_read_file` finds to standard output."""
    warnings.simplefilter("ignore")  # of the compiler, about the sources of others
    gc.disable()  # syntax trees hold no cycles; walking them again and again triples the time
    for path in pickle.load(sys.stdin.buffer):
        pickle.dump(_read_file(Path(path)), sys.stdout.buffer)
        sys.stdout.buffer.flush()


class DocstringReader:
    """Iterates over the prose of the docstrings of installed packages, file by file.

    A paragraph that occurred before is left out. The order does not depend on `processes`.

    Args:
        directories: Where to look for Python files; `package_directories()` by default.
        processes: How many processes parse files; by default as many as there are processors.

    Attributes:
        num_files: Files in all.
        num_read: Files read so far, those that are `num_unreadable` among them.
        num_unreadable: Files that could not be read or parsed.
        num_docstrings: Docstrings found so far.
        num_repeated: Paragraphs left out because they had occurred before.

    Raises:
        OSError: While iterating: a process that parses files could not start or ended early.
    """

    def __init__(
        self,
        directories: Iterable[str | os.PathLike[str]] | None = None,
        processes: int | None = None,
    ) -> None:
        self._files = python_files(package_directories() if directories is None else directories)
        self._processes = processes or len(os.sched_getaffinity(0))
        self.num_files = len(self._files)
        self.num_read = self.num_unreadable = self.num_docstrings = self.num_repeated = 0

    def __iter__(self) -> Iterator[str]:
        """Yields the new paragraphs of each file, one per line."""
        seen: set[str] = set()
        for result in self._results():
            self.num_read += 1
            if result is None:
                self.num_unreadable += 1
                continue
            num_docstrings, paragraphs = result
            new = dict.fromkeys(text for text in paragraphs if text not in seen)
            seen.update(new)
            self.num_docstrings += num_docstrings
            self.num_repeated += len(paragraphs) - len(new)
            yield "".join(f"{text}\n" for text in new)

    def _results(self) -> Iterator[tuple[int, list[str]] | None]:
        """Yields what `_read_file` returns for each file."""
        # This file run as a program, with the standard library alone. The workers of
        # multiprocessing would import the main program, whatever that does when it is imported.
        command = [sys.executable, "-I", __file__]
        workers: list[subprocess.Popen[bytes]] = []
        try:
            for first in range(self._processes):
                worker = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is for this process, which ends the others
                )
                workers.append(worker)
                with _pipe(worker.stdin) as stdin:
                    paths = [str(path) for path in self._files[first :: self._processes]]
                    pickle.dump(paths, stdin)
            for number, path in enumerate(self._files):
                try:
                    result = pickle.load(_pipe(workers[number % self._processes].stdout))
                except EOFError:
                    raise OSError(f"the process that parses {path} ended early") from None
                yield result
        finally:
            for worker in workers:
                worker.kill()
                _pipe(worker.stdout).close()
                worker.wait()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """A stream of a process that was started with one."""
    assert stream is not None
    return stream


if __name__ == "__main__":
    _work()
