"""What the benchmarks share: cases, timing, the printed table and the CSV.

All contestants of a case take turns in rounds of one run, together with the machine's ceilings (a
large matrix product by TensorFlow, a copy by all cores), so that noise and clock rates affect all
of them alike; shares and ratios are medians over the rounds of quotients within a round. A sample
is the mean of as many calls as fill 20 ms, at least one. Before anything is timed, the losses and
gradients of all contestants are compared.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # remarks on the processor

import machine
import memory
import numpy as np
import tensorflow as tf

Step = Callable[[], tuple[Any, list]]  # one forward and backward: the loss and all gradients

OURS = "fastw2v"
RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    *("loss", "batch", "classes", "sampled", "dim", "reduction", "compute_dtype", "contestant"),
    *("rounds", "median_s", "p20_s", "p80_s", "operations", "gflops", "matmul_share"),
    *("time_ratio", "peak_extra_bytes", "matmul_gflops", "copy_gbytes_per_s"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)

_SAMPLE_SECONDS = 0.02
_IDLE_SECONDS = 0.005  # before a sample: threads of other libraries spin for a while after work
_MIN_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """A loss and the size of its problem.

    Attributes:
        loss: Name of the function in `fastw2v`.
        batch, classes, dim: B, V and D.
        sampled: S, the number of sampled classes; 0: all classes compete.
        per_example: Whether each example has sampled classes of its own.
        reduction: "mean", "none" with a given upstream gradient, or "" where there is no loss.
        compute_dtype: Of the operands of matrix products; tables are float32.
    """

    loss: str
    batch: int
    classes: int
    dim: int
    sampled: int = 0
    per_example: bool = False
    reduction: str = "mean"
    compute_dtype: str = "float32"

    @property
    def kind(self) -> str:
        """The loss with its variant."""
        return self.loss + (", per example" if self.per_example else "")

    @property
    def products(self) -> int:
        """Operations per logit and unit of D: the forward product and the two of the gradients.

        Without a known reduction the gradients come after the loss, and logits that are not stored
        are computed again. The largest logits have the forward product alone.
        """
        if self.loss in ("top_k", "recall"):
            return 2
        return 8 if self.reduction == "none" and not self.sampled else 6

    @property
    def operations(self) -> int:
        return self.products * self.batch * (self.sampled or self.classes) * self.dim

    @property
    def counted(self) -> str:
        """The formula of ``operations``."""
        return f"{self.products}B{'S' if self.sampled else 'V'}D"

    @property
    def logits_bytes(self) -> int:
        return 4 * self.batch * (self.sampled or self.classes)

    def smallest(self) -> Case:
        """The same kind of case with next to no work."""
        return replace(self, batch=2, classes=64, dim=4, sampled=min(self.sampled, 4))

    def __str__(self) -> str:
        sizes = {"B": self.batch, "V": self.classes, "S": self.sampled, "D": self.dim}
        options = [
            option
            for option in (self.reduction, self.compute_dtype)
            if option not in ("", "float32")
        ]
        return (
            ", ".join([self.kind, *options])
            + ": "
            + " ".join(f"{name}={size:,}" for name, size in sizes.items() if size)
        )


@dataclass
class Measurement:
    """Seconds per call of a step, one sample a round, and the memory that it needs."""

    seconds: list[float] = field(default_factory=list)
    peak_extra_bytes: int | None = None

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.seconds, percent))

    def ratio(self, other: Measurement) -> float:
        """How many times as long as the other's: median over the rounds."""
        return float(np.median(np.divide(self.seconds, other.seconds)))


def options(description: str, name: str, *, sweep: bool = False) -> argparse.Namespace:
    """Parses the command line of a benchmark.

    Args:
        description: What the benchmark measures.
        name: Stem of the CSV that is written by default.
        sweep: Whether there is a ``--sweep``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", action="store_true", help="tiny problems: shows that all works, measures nothing"
    )
    if sweep:
        size.add_argument("--sweep", action="store_true", help="how cost grows with each size")
    parser.add_argument("--rounds", type=int, default=15, help="at most (default: %(default)s)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=6.0,
        help=f"per case; no round begins after so long, save the first {_MIN_ROUNDS} (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="CSV",
        help=f"file to write (default: benchmarks/results/{name}.csv"
        + (f" or {name}_sweep.csv" if sweep else "")
        + "; with --quick: none)",
    )
    parsed = parser.parse_args()
    parsed.sweep = sweep and parsed.sweep
    if parsed.rounds < _MIN_ROUNDS:
        parser.error(f"argument --rounds: {parsed.rounds} is below {_MIN_ROUNDS}")
    if parsed.quick:
        parsed.rounds = _MIN_ROUNDS
    elif parsed.output is None:
        parsed.output = RESULTS / (f"{name}_sweep.csv" if parsed.sweep else f"{name}.csv")
    return parsed


def run(
    cases: Iterable[Case],
    steps: Callable[[Case], Mapping[str, Step]],
    options: argparse.Namespace,
    *,
    measure_memory: bool = True,
) -> None:
    """Measures all cases, prints a table for each and writes the CSV.

    Args:
        cases: The cases.
        steps: Makes the steps of a case by contestant, `OURS` among them; a function of a module.
        options: The command line.
        measure_memory: Whether the peak extra memory of each step is measured.
    """
    description = machine.description()
    print(", ".join(f"{name} {value}" for name, value in description.items() if value))
    rows = []
    for case in cases:
        print(f"\n{case}", flush=True)
        if case.compute_dtype == "bfloat16" and not (
            options.quick or machine.multiplies_bfloat16()
        ):
            print("  left out: this processor has no bfloat16 products")
            continue
        rows += [row | description for row in _rows(case, steps, options, measure_memory)]
        if options.output:  # after each case, so that what was measured outlives an interruption
            write(options.output, COLUMNS, rows)
    if options.output:
        print(f"\nwritten: {options.output}")


def _rows(
    case: Case, steps: Callable, options: argparse.Namespace, measure_memory: bool
) -> list[dict[str, Any]]:
    """Measures a case, prints its table and returns its rows."""
    contestants = dict(steps(case))
    # Logits, their softmax and its gradient.
    if not case.sampled and 3 * case.logits_bytes > machine.available_bytes():
        for name in [name for name in contestants if not name.startswith(OURS)]:
            print(f"  left out: {name}, which stores logits; they do not fit into memory")
            del contestants[name]
    peaks = {
        name: memory.peak_extra_bytes(steps, case, name) if measure_memory else None
        for name in contestants
    }
    _check(case, contestants)
    product, product_operations = machine.matrix_product(case.compute_dtype, options.quick)
    copy, copied_bytes = machine.copy(options.quick)
    product()
    results = measured(
        {**contestants, "matmul": product, "copy": copy}, options.rounds, options.seconds
    )
    ceiling, copying = results["matmul"], results["copy"]
    rows = []
    for name in contestants:
        measurement = results[name]
        seconds = measurement.percentile(50)
        share = case.operations / product_operations / measurement.ratio(ceiling)
        row = {
            "loss": case.kind,
            "batch": case.batch,
            "classes": case.classes,
            "sampled": case.sampled,
            "dim": case.dim,
            "reduction": case.reduction,
            "compute_dtype": case.compute_dtype,
            "contestant": name,
            "rounds": len(measurement.seconds),
            "median_s": seconds,
            "p20_s": measurement.percentile(20),
            "p80_s": measurement.percentile(80),
            "operations": case.counted,
            "gflops": case.operations / seconds / 1e9,
            "matmul_share": share,
            "time_ratio": measurement.ratio(results[OURS]),
            "peak_extra_bytes": peaks[name],
            "matmul_gflops": product_operations / ceiling.percentile(50) / 1e9,
            "copy_gbytes_per_s": copied_bytes / copying.percentile(50) / 1e9,
        }
        rows.append(row)
    _print(rows)
    return rows


def _check(case: Case, contestants: Mapping[str, Step]) -> None:
    """Calls each step for the first time and compares what it computes with what the first does.

    Where classes are sampled each step draws its own, and only the number of gradients can be
    compared.
    """
    tolerance = 1e-3 if case.compute_dtype == "float32" else 5e-2
    expected = None
    for name, step in contestants.items():
        loss, gradients = step()
        got = np.array([len(gradients)])
        if not case.sampled:
            got = np.array([np.linalg.norm(_dense(value)) for value in (loss, *gradients)])
        expected = got if expected is None else expected
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=tolerance):
            raise AssertionError(
                f"{case}: norms of loss and gradients are {got} by {name} and {expected} by "
                f"{next(iter(contestants))}"
            )


def _dense(value: Any) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(value), np.float32)


def measured(
    steps: Mapping[str, Callable[[], Any]],
    rounds: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Measurement]:
    """Times steps that were called before, in turns.

    Args:
        steps: By contestant.
        rounds: At most.
        seconds: After which no round begins.
        clock: Of steps on one thread ``time.process_time`` may be read, which leaves out the time
            in which other programs have the processor.
    """
    measurements = {name: Measurement() for name in steps}
    order = random.Random(1)
    start = time.perf_counter()
    for done in range(rounds):
        if done >= _MIN_ROUNDS and time.perf_counter() - start > seconds:
            break
        for name in order.sample(list(steps), len(steps)):  # nobody always follows the same one
            samples = measurements[name].seconds
            samples.append(
                _sample(steps[name], clock, warm_up=bool(samples) and samples[-1] < _SAMPLE_SECONDS)
            )
    return measurements


def _sample(step: Callable[[], Any], clock: Callable[[], float], *, warm_up: bool) -> float:
    """Seconds per call. A short step is called once before, so that it does not pay for what the
    step before it left in the caches."""
    time.sleep(_IDLE_SECONDS)
    if warm_up:
        step()
    calls, elapsed = 0, 0.0
    start = clock()
    while elapsed < _SAMPLE_SECONDS:
        step()
        calls += 1
        elapsed = clock() - start
    return elapsed / calls


def write(path: Path, columns: Sequence[str], rows: list[dict[str, Any]]) -> None:
    """Writes a CSV, with its numbers rounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            rounded = {
                name: f"{value:.4g}" if isinstance(value, float) else value
                for name, value in row.items()
            }
            writer.writerow(rounded)


def _print(rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    print(
        f"  ceilings: {first['matmul_gflops']:.0f} GFLOP/s matrix product in "
        f"{first['compute_dtype']}, {first['copy_gbytes_per_s']:.1f} GB/s copy (read + write); "
        f"{first['rounds']} rounds"
    )
    width = max(len(row["contestant"]) for row in rows)
    print(
        f"  {'':{width}} {'median ms':>10} {'p20':>9} {'p80':>9} {'GFLOP/s':>8} {'of matmul':>9} "
        f"{'time/ours':>9} {'extra MB':>8}   operations counted as {first['operations']}"
    )
    for row in rows:
        peak = row["peak_extra_bytes"]
        extra = "" if peak is None else f"{peak / 1e6:.1f}"
        print(
            f"  {row['contestant']:{width}} {row['median_s'] * 1e3:10.3f} {row['p20_s'] * 1e3:9.3f}"
            f" {row['p80_s'] * 1e3:9.3f} {row['gflops']:8.1f} {row['matmul_share']:9.1%}"
            f" {row['time_ratio']:9.2f} {extra:>8}",
            flush=True,
        )
