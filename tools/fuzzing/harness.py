"""Runs random cases in processes of their own, and notices when one fails, crashes, hangs or takes
too much memory.

Workers are forked from a process that has imported everything and has run nothing, so that they
start at once, and each can have an instruction set of its own. Nothing here knows TensorFlow.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_START_SECONDS = 60.0  # until a worker's first case
_TURN_SECONDS = 4.0
_HANGS = 6.0  # as many times its seconds may pass: others may need the processors too


class Fault(AssertionError):
    """What a case found."""


@dataclass(frozen=True)
class Case:
    """What a random case is made of.

    Attributes:
        seed: Decides the case.
        rng: NumPy's generator, seeded by it.
        directory: An empty directory.
        calls: How often a case that looks for leaks calls what it looks at.
    """

    seed: int
    rng: np.random.Generator
    directory: Path
    calls: int

    def one_of(self, *choices: Any) -> Any:
        """One of the arguments."""
        return choices[self.rng.integers(len(choices))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def size(self, most: int, least: int = 1) -> int:
        """A random integer in [least, most], small ones being more frequent."""
        return int(least + (most - least + 1) ** self.rng.random() - 1)


@dataclass(frozen=True)
class Subject:
    """One thing to search, a module of this package.

    Attributes:
        run: Makes one case.
        seconds: How much of the processors' time a case may take.
        megabytes: By how much it may raise the peak of its process' resident memory.
    """

    name: str
    run: Callable[[Case], None]
    seconds: float = 30.0
    megabytes: float = 512.0

    @classmethod
    def named(cls, name: str) -> Subject:
        importlib.import_module("fuzzing.imports")
        module = importlib.import_module(f"fuzzing.{name}")
        return cls(name, module.case, module.SECONDS, module.MEGABYTES)


@dataclass
class Tally:
    """What was tried of one subject."""

    cases: int = 0
    seconds: float = 0.0
    failures: int = 0
    instruction_sets: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Failure:
    """A case that failed; ``text`` says how."""

    subject: str
    seed: int
    instruction_set: str
    text: str

    def kind(self) -> str:
        """Equal for failures that are probably one: the last line, up to where details begin."""
        lines = self.text.strip().splitlines() or [""]
        line = re.split(r"[\[({<'\"]", lines[-1].strip() + "[")[0]
        return f"{self.subject}: " + re.sub(r"(?<![a-z])[-+]?\d[\d.e+-]*", "0", line)[:120]


def run_case(subject: Subject, seed: int, calls: int) -> str | None:
    """Runs one case here, and returns what is wrong."""
    directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
    random.seed(seed)
    rng = np.random.default_rng([seed, zlib.crc32(subject.name.encode())])
    before = _peak_megabytes()
    began = time.process_time()
    try:
        subject.run(Case(seed, rng, directory, calls))
    except Exception:
        return traceback.format_exc(limit=-4)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    took = time.process_time() - began
    if took > subject.seconds:
        return f"the case took {took:.0f} s of the processors, more than {subject.seconds:.0f}"
    grown = _peak_megabytes() - before
    if grown > subject.megabytes:
        return f"the case took {grown:.0f} MB, more than {subject.megabytes:.0f}"
    return None


def search(
    subjects: Sequence[Subject],
    *,
    seconds: float,
    first_seed: int,
    calls: int,
    instruction_sets: Sequence[str],
    tell: Callable[[Failure], None],
) -> dict[str, Tally]:
    """Gives each subject the same share of the time, in turns on each instruction set."""
    tallies = {subject.name: Tally() for subject in subjects}
    turns = dict.fromkeys(tallies, 0)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        subject = min(subjects, key=lambda subject: tallies[subject.name].seconds)
        tally = tallies[subject.name]
        instruction_set = instruction_sets[turns[subject.name] % len(instruction_sets)]
        turns[subject.name] += 1
        tally.instruction_sets.add(instruction_set)
        failures = run_turn(
            subject,
            first_seed + tally.cases,
            tally,
            seconds=min(_TURN_SECONDS, left),
            calls=calls,
            instruction_set=instruction_set,
        )
        for failure in failures:
            tell(failure)
    return tallies


def run_turn(
    subject: Subject,
    seed: int,
    tally: Tally,
    *,
    seconds: float,
    calls: int,
    instruction_set: str,
    max_cases: int | None = None,
) -> list[Failure]:
    """Runs cases of successive seeds in one worker, until the time is over or it is gone."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    failures: list[Failure] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        errors = Path(directory, "stderr")
        worker = context.Process(
            target=_work,
            args=(sender, subject, seed, seconds, calls, instruction_set, max_cases, directory),
        )
        worker.start()
        sender.close()
        running = None

        def fail(text: str) -> None:
            tail = errors.read_text(errors="replace")[-2000:] if errors.exists() else ""
            where = seed if running is None else running
            failures.append(Failure(subject.name, where, instruction_set, f"{tail}\n{text}"))

        while True:
            limit = _START_SECONDS if running is None else _HANGS * subject.seconds
            if not receiver.poll(limit):
                fail(f"the case took longer than {limit:.0f} s")
                break
            try:
                event, number, text = receiver.recv()
            except EOFError:
                worker.join()
                if worker.exitcode != 0:
                    fail(f"the process ended by {_ending(worker.exitcode)}")
                break
            if event == "begin":
                running = number
                tally.cases += 1
            else:
                if text is not None:
                    failures.append(Failure(subject.name, number, instruction_set, text))
        worker.kill()
        worker.join()
    tally.seconds += time.monotonic() - began
    tally.failures += len(failures)
    return failures


def _work(
    sender: Any,
    subject: Subject,
    seed: int,
    seconds: float,
    calls: int,
    instruction_set: str,
    max_cases: int | None,
    directory: str,
) -> None:
    os.environ["FASTW2V_ISA"] = instruction_set
    tempfile.tempdir = directory
    os.chdir(directory)
    warnings.simplefilter("ignore")
    with open(Path(directory, "stderr"), "w") as errors:
        os.dup2(errors.fileno(), 2)
    end = time.monotonic() + seconds
    done = 0
    while time.monotonic() < end and (max_cases is None or done < max_cases):
        sender.send(("begin", seed + done, None))
        sender.send(("end", seed + done, run_case(subject, seed + done, calls)))
        done += 1
    sender.close()
    os._exit(0)  # without what TensorFlow does at the end, which a fork may find half done


def _ending(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
