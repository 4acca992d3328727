"""Runs a program as Python would, and watches it.

The program is `__main__`, with its own `sys.argv` and `sys.path`; TensorFlow is imported when the
program does it. Its output, exit status and tracebacks are its own: of the doctor there are only
the reports on standard error, or, where there was nothing to report, a line that says so.
"""

from __future__ import annotations

import io
import os
import pkgutil
import runpy
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from fastw2v._core import with_tensorflow
from fastw2v._core.after_import import after_import
from fastw2v.doctor.program import tracebacks

if TYPE_CHECKING:
    from fastw2v.doctor.watching import Watch

USAGE = """\
usage: {command} [--help] (SCRIPT | -m MODULE) [ARGUMENT ...]

Run a Python program unchanged and explain its missing gradients on standard error.

  SCRIPT      a file, or a directory or zip file with a __main__.py
  -m MODULE   a module, as for python -m
  ARGUMENT    goes to the program
"""

# What `python -m` calls.
_run_as_main: Callable[..., Any] = runpy._run_module_as_main  # type: ignore[attr-defined]

# Whether Python put no directory of the program that it runs, which is this one, on the path.
_SAFE_PATH = getattr(sys.flags, "safe_path", bool(sys.flags.isolated))


def main(arguments: Sequence[str], command: str = "python -m fastw2v.doctor") -> int:
    """Runs the program; its exceptions, SystemExit too, go through.

    Args:
        arguments: What follows the command.
        command: What the user typed before them, for the help.

    Returns:
        The exit status: 0 if the program ends by itself, 2 if there is none to run.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE.format(command=command), end="")
        return 0
    by_name = arguments[:1] == ["-m"]
    program, rest = arguments[by_name:][:1], arguments[by_name + 1 :]
    if not program or program[0].startswith("-"):
        problem = f"unknown option {program[0]}" if program else "no program to run"
        print(f"{command}: error: {problem}; see --help", file=sys.stderr)
        return 2
    with_tensorflow.warn = False
    watches: list[Watch] = []
    after_import("tensorflow", lambda: watches.append(_start_watch()))
    _show_threads_without_us(watches)
    try:
        if by_name:
            _run_module(program[0], rest)
        elif pkgutil.get_importer(program[0]) is not None:
            _run_directory(program[0], rest)
        else:
            try:
                with io.open_code(os.path.abspath(program[0])) as file:
                    source = file.read()
            except OSError as error:
                print(f"{command}: error: {program[0]}: {error.strerror}", file=sys.stderr)
                return 2
            _run_script(program[0], source, rest)
    except BaseException as error:
        for watch in watches:
            watch.explain_error(error)
        if isinstance(error, SystemExit) and not error.code:
            _close(watches)
        _show_without_us(error)
        raise
    _close(watches)
    return 0


def _start_watch() -> Watch:
    # Not above: it imports TensorFlow, and the program says when that is done, if at all.
    from fastw2v.doctor.watching import watch

    return watch().start()


def _close(watches: list[Watch]) -> None:
    for watch in watches:
        watch.print_if_nothing_found()


def _run_script(path: str, source: bytes, arguments: Sequence[str]) -> None:
    """Runs what `python path arguments` runs."""
    sys.argv[:] = [path, *arguments]
    path = os.path.abspath(path)
    if not _SAFE_PATH:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    main = _new_main()
    vars(main).update(__file__=path, __cached__=None)
    main.__loader__ = SourceFileLoader("__main__", path)
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _run_directory(path: str, arguments: Sequence[str]) -> None:
    """Runs the __main__ of a directory or a zip file."""
    sys.argv[:] = [path, *arguments]
    sys.path[: not _SAFE_PATH] = [os.path.abspath(path)]
    _new_main()
    _run_as_main("__main__", False)


def _run_module(name: str, arguments: Sequence[str]) -> None:
    """Runs what `python -m name arguments` runs."""
    sys.argv[:] = ["-m", *arguments]
    if not _SAFE_PATH:
        sys.path[0] = os.getcwd()
    _new_main()
    _run_as_main(name)


def _new_main() -> ModuleType:
    module = ModuleType("__main__")
    module.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"])
    sys.modules["__main__"] = module
    return module


def _show_threads_without_us(watches: list[Watch]) -> None:
    """Has exceptions that end a thread explained, and shown as if the program had run alone."""
    hook = threading.excepthook

    def show(arguments: threading.ExceptHookArgs) -> None:
        kind, error, traceback, thread = arguments
        if error is not None:
            for watch in watches:
                watch.explain_error(error)
            traceback = tracebacks.clean(error)
        hook(threading.ExceptHookArgs((kind, error, traceback, thread)))

    threading.excepthook = show


def _show_without_us(error: BaseException) -> None:
    """Has the interpreter show an exception as if the program had run alone."""
    traceback = tracebacks.clean(error)
    hook = sys.excepthook  # the program may have one of its own

    def show(kind: type[BaseException], value: BaseException, _: TracebackType | None) -> None:
        hook(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = show
