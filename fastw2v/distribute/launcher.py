"""Starts the processes of one machine: ``fastw2v distribute -n 4 script.py``.

Each process runs the program with a ``TF_CONFIG`` of its own, from which
`tf.distribute.MultiWorkerMirroredStrategy` learns of the others, on ports of the loopback
interface. TensorFlow is not imported here.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import IO, Any

from fastw2v.distribute import unequal

_COMMAND = "fastw2v distribute"  # python -m fastw2v.distribute is the same
_DESCRIPTION = """\
Run a program in several processes of this machine, which are the workers of a
tf.distribute.MultiWorkerMirroredStrategy. When one fails, or at Ctrl-C, all are ended; the exit
status is that of the first that failed, or 128 plus the number of the signal that ended it."""
# When one has failed, the others, who get errors of their own, have so long to say so, ...
_SECONDS_TO_FAIL = 2.0
# ... and so long to end after SIGTERM.
_SECONDS_TO_END = 5.0
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def main(arguments: Sequence[str]) -> int:
    """Runs the processes.

    Args:
        arguments: What follows the command.

    Returns:
        The exit status: 0 if all end well, 2 if the arguments are wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        shares = _shares_of_gpus(options.processes)
    except ValueError as error:
        _say(f"error: {error}")
        return 2
    if options.module:
        program = [sys.executable, "-m", options.script]
    elif _is_python(options.script):
        program = [sys.executable, options.script]
    elif (command := shutil.which(options.script)) is not None:
        program = [command]
    else:
        _say(f"error: {options.script} is neither a file nor a command")
        return 2
    threads = options.threads or max(1, _processors() // options.processes)
    with _reserved_ports(options.processes) as ports:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        workers = _Workers()
        try:
            for rank in range(options.processes):
                task = {"type": "worker", "index": rank}
                config = {"cluster": {"worker": addresses}, "task": task}
                environment = {
                    "PYTHONUNBUFFERED": "1",
                    **os.environ,
                    "TF_CONFIG": json.dumps(config),
                    "TF_GRPC_REUSE_PORT": "1",  # until it is taken, the port is kept for the worker
                    **shares[rank],
                }
                if options.threads or "TF_NUM_INTRAOP_THREADS" not in os.environ:
                    environment["TF_NUM_INTRAOP_THREADS"] = str(threads)
                workers.start([*program, *options.arguments], environment)
            return workers.wait()
        finally:
            workers.kill()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_COMMAND, description=_DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "-n", dest="processes", type=_positive, required=True, help="how many processes"
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        help="TensorFlow's threads within an op, of each process: TF_NUM_INTRAOP_THREADS\n"
        "(default: where that is not set, the processors, divided evenly)",
    )
    parser.add_argument(
        "-m", dest="module", action="store_true", help="SCRIPT names a module, as for python -m"
    )
    parser.add_argument(
        "script",
        metavar="SCRIPT",
        help="the program, in Python; or the name of a command, as in fastw2v train",
    )
    parser.add_argument(
        "arguments", metavar="ARGUMENT", nargs=argparse.REMAINDER, help="goes to the program"
    )
    return parser


def _is_python(script: str) -> bool:
    """Whether there is such a file, or a directory that Python can run."""
    return os.path.isfile(script) or os.path.isfile(os.path.join(script, "__main__.py"))


def _positive(text: str) -> int:
    with contextlib.suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not an integer above 0")


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _shares_of_gpus(processes: int) -> list[dict[str, str]]:
    """What is changed in the environment of each process: GPUs that CUDA_VISIBLE_DEVICES lists are
    divided evenly."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = [gpu.strip() for gpu in listed.split(",")]
    if "" in gpus or "-1" in gpus:
        return [{}] * processes
    if len(gpus) % processes:
        raise ValueError(
            f"CUDA_VISIBLE_DEVICES = {listed!r} lists {len(gpus)} GPUs, which {processes} "
            "processes cannot share evenly"
        )
    each = len(gpus) // processes
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(gpus[each * rank : each * (rank + 1)])}
        for rank in range(processes)
    ]


@contextlib.contextmanager
def _reserved_ports(number: int) -> Iterator[list[int]]:
    """Free ports of the loopback interface, which no other program is given meanwhile."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]


class _Workers:
    """The processes, each of which leads a process group of its own.

    They stay in the system's table until all have ended, so that their numbers are no other's."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        # The rank of a process that has ended and its exit status, or None where a signal has come.
        self._ends: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._signal = 0
        self._writing = threading.Lock()
        self._shapes_differ = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_signal)

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        self._processes.append(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_end_with_launcher,
            )
        )

    def wait(self) -> int:
        """Waits until all have ended, or one has failed and the others are ended.

        Returns:
            The exit status.
        """
        readers = []
        for rank, process in enumerate(self._processes):
            _in_background(self._wait_for, rank)
            readers.append(_in_background(self._pass_on, rank, process.stdout, sys.stdout.buffer))
            readers.append(_in_background(self._pass_on, rank, process.stderr, sys.stderr.buffer))
        running, status = len(self._processes), 0
        while running and not status:
            end = self._ends.get()
            if end is None:
                status = 128 + self._signal
                self._send(self._signal)
                running -= self._count_ends(running, _SECONDS_TO_END)
                continue
            rank, status = end
            running -= 1
            if status:
                rest = "; the others are ended" if running else ""
                _say(f"process {rank} {_how_it_ended(status)}{rest}")
                running -= self._count_ends(running, _SECONDS_TO_FAIL)
        if running:
            self._send(signal.SIGTERM)
            self._count_ends(running, _SECONDS_TO_END)
        self.kill()
        for reader in readers:
            reader.join(1.0)  # a child that left its process group may still hold the other end
        if status and self._shapes_differ:
            _say(unequal.SENTENCE)
        return status

    def kill(self) -> None:
        """Ends what is still there, children of the processes too."""
        self._send(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        self._ends.put(None)

    def _count_ends(self, most: int, seconds: float) -> int:
        """How many of ``most`` processes end within a time, which another signal cuts short."""
        deadline = time.monotonic() + seconds
        for count in range(most):
            try:
                end = self._ends.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                end = None
            if end is None:
                return count
        return most

    def _send(self, number: int) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _wait_for(self, rank: int) -> None:
        try:
            end = os.waitid(os.P_PID, self._processes[rank].pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # it was ended, and its end was taken notice of
            return
        assert end is not None
        status = end.si_status
        self._ends.put((rank, status if end.si_code == os.CLD_EXITED else 128 + status))

    def _pass_on(self, rank: int, pipe: IO[bytes], out: IO[bytes]) -> None:
        """Passes lines on, each with the rank before it."""
        prefix = f"[{rank}] ".encode()
        for line in pipe:
            if unequal.is_told_by(line.decode(errors="replace")):
                self._shapes_differ = True
            with self._writing, contextlib.suppress(BrokenPipeError):
                out.write(prefix + line + (b"" if line.endswith(b"\n") else b"\n"))
                out.flush()


def _in_background(function: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _end_with_launcher() -> None:
    """Runs in a process before its program: has it ended where the launcher is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _how_it_ended(status: int) -> str:
    with contextlib.suppress(ValueError):
        if status > 128:
            return f"was ended by {signal.Signals(status - 128).name}"
    return f"ended with status {status}"


def _say(sentence: str) -> None:
    print(f"{_COMMAND}: {sentence}", file=sys.stderr, flush=True)
