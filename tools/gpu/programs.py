"""Runs programs with time limits, and files of tests each in a process of its own: a kernel that
hangs, or an address that spoils the device's context for good, costs one file."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


def run(
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    output: IO[str] | None = None,
) -> int | None:
    """The status of a command, or None where it did not end in time. Then all that it started is
    ended too: the Python that compute-sanitizer runs, for instance, would still use the device."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also where it has ended, or this program is interrupted: some of it may have stayed.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class FileResult:
    """What became of a file of tests."""

    name: str
    status: int | None  # None: it was ended
    seconds: float
    passed: int
    failed: list[str]  # tests that failed, in the order in which they ran
    unfinished: str  # the test that was running when its process ended or was ended, or ""
    output: str

    @property
    def good(self) -> bool:
        # pytest ends with 5 where no test was selected, as in a file without sanitized tests.
        return self.status in (0, 5) and not self.failed and not self.unfinished

    def line(self) -> str:
        """What a reader sees of it as soon as it is done."""
        parts = [f"{self.passed} passed"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed: {', '.join(self.failed)}")
        if self.unfinished:
            parts.append(f"hung or died in {self.unfinished}")
        elif self.status is None:
            parts.append("was ended")
        elif not self.good and not self.failed:
            parts.append(f"status {self.status}")
        verdict = "ok" if self.good else "FAILED"
        return f"{verdict:6}  {self.name}  {self.seconds:.0f} s  {'; '.join(parts)}"


_OUTCOME = re.compile(r"^(\S+\.py)::(.+?)(?: (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?$")


def read_outcomes(output: str) -> tuple[int, list[str], str]:
    """From what `pytest -v` printed: how many tests passed, which failed, and the one without an
    outcome, if there is one. The line of a test begins when it starts and ends with its outcome,
    between which the test's own output may stand."""
    passed, failed, running = 0, [], ""
    for line in output.splitlines():
        if line.startswith("===") and " short test summary " in line:
            break
        found = _OUTCOME.match(line)
        outcome = found[3] if found else None
        if found and outcome is None:
            running = found[2].strip()
            continue
        name = found[2] if found else running
        if not found:
            other = re.match(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", line)
            if not (running and other):
                continue
            outcome = other[1]
        if outcome == "PASSED":
            passed += 1
        elif outcome in ("FAILED", "ERROR"):
            failed.append(name)
        running = ""
    return passed, failed, running


def pytest_command(seconds_a_test: float) -> list[str]:
    """pytest with a line for each test, and a limit for each where that plugin is installed. A
    thread has to watch: a test that waits for the device does not come back for a signal."""
    command = [sys.executable, "-m", "pytest", "-v", "-n0", "-p", "no:cacheprovider"]
    if importlib.util.find_spec("xdist") is None:
        command.remove("-n0")
    if importlib.util.find_spec("pytest_timeout") is not None:
        command += [f"--timeout={seconds_a_test:.0f}", "--timeout-method=thread"]
    return command


def run_file(
    file: Path,
    command: Sequence[str],
    seconds: float,
    environment: Mapping[str, str],
    logs: Path,
) -> FileResult:
    """Runs `command FILE`; its output is kept in the folder `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{file.stem}.log"
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        environment = {**environment, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        status = run([*command, str(file)], seconds, environment, output)
    text = log.read_text(encoding="utf-8", errors="replace")
    passed, failed, unfinished = read_outcomes(text)
    return FileResult(
        file.name, status, time.monotonic() - started, passed, failed, unfinished, text
    )


def run_files(
    files: Sequence[Path],
    command: Sequence[str],
    end: float,
    environment: Mapping[str, str],
    logs: Path,
    at_once: int = 1,
) -> Iterator[FileResult]:
    """The files' results as they end, all until the time `end` of time.monotonic(); files whose
    turn does not come by then have the status None at once."""

    def one(file: Path) -> FileResult:
        left = end - time.monotonic()
        if left < 1:
            return FileResult(file.name, None, 0, 0, [], "", "")
        return run_file(file, command, left, environment, logs)

    with ThreadPoolExecutor(at_once) as pool:
        for done in as_completed([pool.submit(one, file) for file in files]):
            yield done.result()
