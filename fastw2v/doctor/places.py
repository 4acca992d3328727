"""Lines of the user's program: which frame is his, and what it says there."""

from __future__ import annotations

import functools
import importlib.util
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

from fastw2v.doctor.report import Place

_LIBRARIES = ("tensorflow", "keras", "tf_keras", "fastw2v")
_GENERATED = "__autograph_generated"
_IN_USER_CODE = re.compile(r'File "(.+)", line (\d+), in (\S+)')
# Frames of TensorFlow that stand around every call and say nothing about it.
_WRAPPERS = ("traceback_utils.py", "dispatch.py", "deprecation.py", "tf_decorator.py")


class Origin(NamedTuple):
    """Where something was done.

    Attributes:
        file, line, function: The user's frame.
        api: Name of the library's function that the user called there, "" if none.
        optimizer: Whether an optimizer did it.
        keras: Whether Keras stands between the user and TensorFlow.
    """

    file: str
    line: int
    function: str
    api: str
    optimizer: bool
    keras: bool

    @property
    def place(self) -> Place:
        text = linecache.getline(self.file, self.line).strip()
        return Place(self.file, self.line, text, self.function)


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
    ours = owner(file) == "library"
    return (
        owner(file),
        ours and ("/optimizers/" in path or path.endswith("/optimizer.py")),
        ours and "/keras/" in path,
        path.endswith(_WRAPPERS),
    )


def _first_of_user(frames: Iterable[tuple[str, int, str]]) -> Origin | None:
    """The innermost of the user's frames; frames come innermost first."""
    api, optimizer, keras = "", False, False
    package = None
    for file, line, function in frames:
        whose, is_optimizer, is_keras, is_wrapper = _about(file)
        if whose == "user":
            return Origin(file, line, function, api, optimizer, keras)
        if whose == "package" and package is None:
            package = Origin(file, line, function, api, optimizer, keras)
        if not is_wrapper:
            api = function
        optimizer |= is_optimizer
        keras |= is_keras
    return package


def _outward(frame: FrameType | None) -> Iterator[tuple[str, int, str]]:
    """The frames from one outwards, without those that say nothing, as this runs for every op."""
    plain = None
    while frame is not None:
        code = frame.f_code
        weight = _weight(code.co_filename)
        if weight == _PLAIN:
            plain = frame
        elif weight == _NOTHING:
            pass
        elif _GENERATED in code.co_filename:
            # The user's function as AutoGraph wrote it anew: TensorFlow knows the user's lines.
            yield from _mapped(tf_stack().extract_stack())
            return
        else:
            if plain is not None:
                yield plain.f_code.co_filename, plain.f_lineno, plain.f_code.co_name
                plain = None
            yield code.co_filename, frame.f_lineno, code.co_name
        frame = frame.f_back


# Of frames in a row the name of the last alone matters; or nothing does.
_PLAIN, _NOTHING = "plain", "nothing"


@functools.cache
def _weight(file: str) -> str:
    """What a frame of a file says about where the user's program stands."""
    whose, is_optimizer, is_keras, is_wrapper = _about(file)
    if whose != "library" or is_optimizer or is_keras or _GENERATED in file:
        return "all of it"
    return _NOTHING if is_wrapper else _PLAIN


def tf_stack() -> Any:
    return importlib.import_module("tensorflow.python.util.tf_stack")


def _mapped(frames: Any) -> Iterator[tuple[str, int, str]]:
    for frame in reversed(list(frames or ())):
        if _GENERATED in frame.filename:  # of another thread, such as a distribution strategy's
            yield _as_written(frame.filename, frame.lineno) or (frame.filename, frame.lineno, "")
        else:
            yield frame.filename, frame.lineno, frame.name


def _as_written(file: str, line: int) -> tuple[str, int, str] | None:
    """The user's line that AutoGraph made a line of its own file of."""
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
        for file, line, name in frames:
            if (file, name) == function:
                return Origin(file, line, name, "", False, False)
    return _first_of_user(frames)


def of_error(error: BaseException) -> Origin | None:
    """Where the user's program stood when it came to an exception."""
    told = [(file, int(line), name) for file, line, name in _IN_USER_CODE.findall(str(error))]
    if told:  # AutoGraph's message has the stack, which the traceback has not
        return _first_of_user(reversed(told))
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append((code.co_filename, traceback.tb_lineno, code.co_name))
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
