"""Lines of the user's program: which stack frame is the user's, and what stands there."""

from __future__ import annotations

import functools
import importlib.util
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias

_LIBRARIES = ("tensorflow", "keras", "tf_keras", "fastw2v")
_GENERATED = "__autograph_generated"
_IN_USER_CODE = re.compile(r'File "(.+)", line (\d+), in (\S+)')
# Files of TensorFlow with wrappers that are in every stack and say nothing about a call.
_WRAPPERS = ("traceback_utils.py", "dispatch.py", "deprecation.py", "tf_decorator.py")


@dataclass(frozen=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int
    text: str
    function: str

    def __str__(self) -> str:
        where = f"{_shown(self.file)}:{self.line}"
        return where if self.function in ("", "<module>") else f"{where} in {self.function}"


def _shown(file: str) -> str:
    """The cell of a notebook; of files below the working directory the path relative to it."""
    if cell := _cell(file):
        return cell
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _cell(file: str) -> str:
    """The name of a cell as IPython's tracebacks have it, "Cell In[3]"; "" for other files."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # IPython gives each cell a temporary file's name, which says nothing to its author.
    format_code_name = getattr(getattr(shell, "compile", None), "format_code_name", None)
    return " ".join(format_code_name(file) or ()) if format_code_name else ""


class Origin(NamedTuple):
    """Where something was done.

    Attributes:
        file, line, function: The user's frame.
        api: Name of the library's function that the user called there, "" if none.
        optimizer: Whether an optimizer did it.
        keras: Whether Keras stands between the user and TensorFlow.
        instruction: The user's code object and where it was in it, if known.
    """

    file: str
    line: int
    function: str
    api: str
    optimizer: bool
    keras: bool
    instruction: tuple[CodeType, int] | None = None

    @property
    def place(self) -> Place:
        """The user's line."""
        text = linecache.getline(self.file, self.line).strip()
        return Place(self.file, self.line, text, self.function)


def place_of(origin: Origin | None) -> Place | None:
    """The user's line, where it is known."""
    return origin.place if origin is not None else None


@functools.cache
def _roots() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Directories of the libraries, of the standard library, of installed packages."""
    libraries = []
    for name in _LIBRARIES:
        spec = importlib.util.find_spec(name)
        for directory in (spec and spec.submodule_search_locations) or ():
            libraries.append(os.path.join(os.path.realpath(directory), ""))
    paths = sysconfig.get_paths()
    standard = {os.path.join(os.path.realpath(paths[k]), "") for k in ("stdlib", "platstdlib")}
    packages = {os.path.join(os.path.realpath(paths[k]), "") for k in ("purelib", "platlib")}
    return tuple(libraries), tuple(standard), tuple(packages)


@functools.cache
def owner(file: str) -> str:
    """Whose a source file is: "user", "package" (another installed one) or "library"."""
    if file.startswith(("<frozen", "<__array_function__")) or _GENERATED in file:
        return "library"
    if file.startswith("<"):
        return "user"
    path = os.path.realpath(file)
    libraries, standard, packages = _roots()
    if path.startswith(libraries):
        return "library"
    if path.startswith(packages) or f"{os.sep}dist-packages{os.sep}" in path:
        return "package"
    return "library" if path.startswith(standard) else "user"


@functools.cache
def _about(file: str) -> tuple[str, bool, bool, bool]:
    """Owner of the file; whether it is an optimizer, of Keras, or a mere wrapper."""
    path = file.replace(os.sep, "/")
    in_library = owner(file) == "library"
    return (
        owner(file),
        in_library and ("/optimizers/" in path or path.endswith("/optimizer.py")),
        in_library and "/keras/" in path,
        path.endswith(_WRAPPERS),
    )


# File, line, function; code object and instruction, where there are such.
_Frame: TypeAlias = tuple[str, int, str, tuple[CodeType, int] | None]


def _first_of_user(frames: Iterable[_Frame]) -> Origin | None:
    """The innermost of the user's frames; frames come innermost first."""
    api, optimizer, keras = "", False, False
    package = None
    for file, line, function, at in frames:
        whose, is_optimizer, is_keras, is_wrapper = _about(file)
        if whose == "user":
            return Origin(file, line, function, api, optimizer, keras, at)
        if whose == "package" and package is None:
            package = Origin(file, line, function, api, optimizer, keras, at)
        if not is_wrapper:
            api = function
        optimizer |= is_optimizer
        keras |= is_keras
    return package


def _outward(frame: FrameType | None) -> Iterator[_Frame]:
    """The frames from one outward. It runs for every op: those that say nothing are left out."""
    plain = None
    while frame is not None:
        code = frame.f_code
        relevance = _relevance(code.co_filename)
        if relevance == _PLAIN:
            plain = frame
        elif relevance == _NOTHING:
            pass
        elif _GENERATED in code.co_filename:
            # The user's function as AutoGraph rewrote it: TensorFlow knows the original lines.
            yield from _mapped(tf_stack().extract_stack())
            return
        else:
            if plain is not None:
                yield _frame(plain.f_code, plain.f_lineno, plain.f_lasti)
                plain = None
            yield _frame(code, frame.f_lineno, frame.f_lasti)
        frame = frame.f_back


def _frame(code: CodeType, line: int, instruction: int) -> _Frame:
    return code.co_filename, line, code.co_name, (code, instruction)


# Of frames in a row the name of the last alone matters; or nothing does.
_PLAIN, _NOTHING = "plain", "nothing"


@functools.cache
def _relevance(file: str) -> str:
    """What a frame of a file says about where the user's program stands."""
    whose, is_optimizer, is_keras, is_wrapper = _about(file)
    if whose != "library" or is_optimizer or is_keras or _GENERATED in file:
        return "all of it"
    return _NOTHING if is_wrapper else _PLAIN


def tf_stack() -> Any:
    return importlib.import_module("tensorflow.python.util.tf_stack")


def _mapped(frames: Any) -> Iterator[_Frame]:
    for frame in reversed(list(frames or ())):
        if _GENERATED in frame.filename:  # of another thread, such as a distribution strategy's
            original = _original_line(frame.filename, frame.lineno)
            yield *(original or (frame.filename, frame.lineno, "")), None
        else:
            yield frame.filename, frame.lineno, frame.name, None


def _original_line(file: str, line: int) -> tuple[str, int, str] | None:
    """The original of a line in a file that AutoGraph generated."""
    api = importlib.import_module("tensorflow.python.autograph.impl.api")
    for versions in list(api._TRANSPILER._cache._cache.values()):
        for factory in list(versions.values()):
            for made, origin in (factory.source_map or {}).items():
                if (made.filename, made.lineno) == (file, line):
                    return origin.loc.filename, origin.loc.lineno, origin.function_name or ""
    return None


def of_caller() -> Origin | None:
    """Where the user's program stands now."""
    return _first_of_user(_outward(sys._getframe(1)))


def of_op(op: Any, function: tuple[str, str] | None = None) -> Origin | None:
    """Where an op of a graph was made; if it can be said, in a function (file, name)."""
    frames = list(_mapped(op.traceback))
    if function is not None:
        for file, line, name, _ in frames:
            if (file, name) == function:
                return Origin(file, line, name, "", False, False)
    return _first_of_user(frames)


def of_error(error: BaseException) -> Origin | None:
    """Where the user's program stood when it came to an exception."""
    stack = [(file, int(n), name, None) for file, n, name in _IN_USER_CODE.findall(str(error))]
    if stack:  # AutoGraph's message has the stack, which the traceback has not
        return _first_of_user(reversed(stack))
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(_frame(code, traceback.tb_lineno, traceback.tb_lasti))
        traceback = traceback.tb_next
    return _first_of_user(reversed(frames)) or of_caller()


def name_in_program(thing: Any) -> str | None:
    """What the user's frames call an object, the innermost frame first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if owner(frame.f_code.co_filename) == "user":
            for names in (frame.f_locals, frame.f_globals):
                for name, value in names.items():
                    if value is thing and not name.startswith("_"):
                        return name
        frame = frame.f_back
    return None
