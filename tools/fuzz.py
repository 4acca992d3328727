"""Searches for faults for a given time: random calls, files, trainings, kills and loops of calls.

Each case is decided by its seed, and a case that fails is printed with the command that repeats it
(but for the moments of kills, which the clock decides, and the order of a training's threads). Ends
with status 1 where one failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fuzzing import counts, harness

SUBJECTS = (
    "losses",
    "pairs",
    "tables",
    "adaptive",
    "served",
    "growing",
    "malformed",
    "files",
    "word_vectors",
    "documents",
    "kills",
    "memory",
)
_SHOWN = 20  # kinds of failures that are printed in full


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="how long to search")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--seed", type=int, help="repeat this one case of one subject")
    parser.add_argument("--first-seed", type=int, help="of each subject; by default the time")
    parser.add_argument("--isa", nargs="+", help="instruction sets; by default all there are")
    parser.add_argument("--calls", type=int, default=400, help="calls of a loop that may leak")
    parser.add_argument("--output", type=Path, help="CSV to which the counts are added")
    parser.add_argument("--table", type=Path, help="document that shows the sums of that CSV")
    options = parser.parse_args(arguments)
    if options.seed is not None and len(options.subjects) != 1:
        parser.error("--seed needs --subjects with one subject")

    from fastw2v import _kernels

    instruction_sets = options.isa or _kernels.instruction_sets()
    subjects = [harness.Subject.named(name) for name in options.subjects]
    report = _Report(options.calls)
    if options.seed is not None:
        tally = harness.Tally()
        for name in instruction_sets:
            for failure in harness.run_turn(
                subjects[0],
                options.seed,
                tally,
                seconds=subjects[0].seconds,
                calls=options.calls,
                instruction_set=name,
                max_cases=1,
            ):
                report(failure)
        print(f"{subjects[0].name}, seed {options.seed}: {tally.failures} of {tally.cases} failed")
        return int(tally.failures > 0)
    first_seed = int(time.time()) if options.first_seed is None else options.first_seed
    print(f"first seed {first_seed}; instruction sets: {', '.join(instruction_sets)}", flush=True)
    tallies = harness.search(
        subjects,
        seconds=options.seconds,
        first_seed=first_seed,
        calls=options.calls,
        instruction_sets=instruction_sets,
        tell=report,
    )
    report.summarize(tallies)
    if options.output is not None:
        counts.append(options.output, tallies)
        if options.table is not None:
            counts.write_table(options.output, options.table)
    return int(any(tally.failures for tally in tallies.values()))


class _Report:
    """Prints the first failure of each kind, and counts the others."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._kinds: dict[str, list[harness.Failure]] = {}

    def __call__(self, failure: harness.Failure) -> None:
        alike = self._kinds.setdefault(failure.kind(), [])
        alike.append(failure)
        if len(alike) == 1 and len(self._kinds) <= _SHOWN:
            print(f"FAILED {failure.text.strip()}\n  {self._command(failure)}\n", flush=True)

    def summarize(self, tallies: dict[str, harness.Tally]) -> None:
        for kind, alike in sorted(self._kinds.items()):
            print(f"{len(alike):6} x {kind}\n         {self._command(alike[0])}")
        for name, tally in tallies.items():
            sets = ", ".join(sorted(tally.instruction_sets))
            print(
                f"{name:14} {tally.cases:7,} cases {tally.failures:5,} failed "
                f"{tally.seconds:6.0f} s  {sets}"
            )

    def _command(self, failure: harness.Failure) -> str:
        calls = f" --calls {self._calls}" if failure.subject == "memory" else ""
        return (
            f"python tools/fuzz.py --subjects {failure.subject} --isa {failure.instruction_set} "
            f"--seed {failure.seed}{calls}"
        )


if __name__ == "__main__":
    sys.exit(main())
