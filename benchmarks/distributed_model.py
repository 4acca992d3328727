"""What steps on several replicas cost on paper: bytes that a replica sends, and time.

    python benchmarks/distributed_model.py    # writes the tables and the plot of its PAGE

The first table is what distributed.py has measured.

Collectives are those of `fastw2v.distribute.Group`: of N members each sends 2 (N - 1) / N of what
an all-reduce sums, N - 1 of what it gives to an all-gather, (N - 1) / N of an all-to-all.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "distributed.csv"
PAGE = ROOT / "docs" / "guides" / "distribution.md"
PLOT = ROOT / "docs" / "figures" / "distributed_model.png"
BEGIN = "<!-- Model: written by benchmarks/distributed_model.py -->"
END = "<!-- Model: end -->"

# Of a GPU and of its link to the others; assumed, not measured.
OPERATIONS_PER_SECOND = 400e12
BYTES_PER_SECOND = 50e9


@dataclass(frozen=True)
class Problem:
    """A step of each of ``replicas`` on ``batch`` examples of its own.

    Attributes:
        classes, dim: V and D.
        sampled: S, drawn once for all replicas.
        distinct: Distinct ids that a replica looks up.
        group: Replicas that share one copy of the tables; the others have copies.
        size: Bytes of a number.
    """

    replicas: int
    batch: int
    classes: int
    dim: int
    sampled: int = 8192
    distinct: int = 4096
    group: int | None = None
    size: int = 4

    @property
    def members(self) -> int:
        return self.group or self.replicas

    @property
    def share(self) -> float:
        """What a member sends of an all-to-all."""
        return (self.members - 1) / self.members


def mirrored_exact(p: Problem) -> float:
    """The gradients of all weights and biases are summed."""
    return 2 * (p.replicas - 1) / p.replicas * p.classes * (p.dim + 1) * p.size


def sharded_exact(p: Problem) -> float:
    """Hidden rows with labels, and their gradients; of each example four numbers from each part,
    and three for the gradients. Where groups have copies, the gradients of a part are summed."""
    others = p.members - 1
    rows = others * p.batch * (2 * p.dim * p.size + 8)
    numbers = others * (4 + 3) * p.batch * p.size
    copies = p.replicas // p.members
    part = p.classes / p.members * (p.dim + 1) * p.size
    return rows + numbers + 2 * (copies - 1) / copies * part


def mirrored_rows(p: Problem) -> float:
    """The gradients of the rows that each has used go to all."""
    return (p.replicas - 1) * p.distinct * (p.dim * p.size + 8)


def sharded_rows(p: Problem) -> float:
    """Ids, rows and gradients by all-to-all, where each owner has as many of them."""
    return p.share * p.distinct * (2 * p.dim * p.size + 8)


def sharded_sampled(p: Problem) -> float:
    """The same for labels and candidates, with biases."""
    return p.share * (p.batch + p.sampled) * (2 * (p.dim + 1) * p.size + 8)


BYTES: dict[str, Callable[[Problem], float]] = {
    "exact, tables mirrored": mirrored_exact,
    "exact, tables sharded": sharded_exact,
    "lookup of 4,096 rows, mirrored": mirrored_rows,
    "lookup of 4,096 rows, sharded": sharded_rows,
    "sampled, S=8,192, sharded": sharded_sampled,
}


def compute_seconds(p: Problem) -> float:
    """Of an exact loss: 8 operations for each logit and unit of D."""
    logits = p.batch * p.members * p.classes / p.members
    return 8 * logits * p.dim / OPERATIONS_PER_SECOND


# ---- The page ------------------------------------------------------------------------------------

_PROBLEMS = {
    "N=2, V=50,000, b=512": Problem(2, 512, 50_000, 128),
    "N=8, V=10^6, b=1,024": Problem(8, 1024, 10**6, 128),
    "N=64, V=10^7, b=1,024": Problem(64, 1024, 10**7, 128),
    "N=1,000 in groups of 8, V=10^6, b=256": Problem(1000, 256, 10**6, 128, group=8),
    "N=1,000, V=10^9, b=64": Problem(1000, 64, 10**9, 128),
}


def section() -> str:
    """The table, and what it stands on."""
    lines = [
        "| a replica sends | " + " | ".join(_PROBLEMS) + " |",
        "|---|" + "---|" * len(_PROBLEMS),
    ]
    for name, formula in BYTES.items():
        cells = [_bytes(formula(problem)) for problem in _PROBLEMS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, seconds in {
        "exact, sharded: computing": compute_seconds,
        "exact, sharded: sending": lambda p: sharded_exact(p) / BYTES_PER_SECOND,
    }.items():
        cells = [f"{seconds(problem) * 1e3:.3g} ms" for problem in _PROBLEMS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = (
        "On paper, with N replicas, V classes of width 128, b examples a replica, in float32; the "
        f"times assume {OPERATIONS_PER_SECOND / 1e12:.0f} TFLOP/s and "
        f"{BYTES_PER_SECOND / 1e9:.0f} GB/s of each replica, and no latency:"
    )
    plot = f"![Bytes of a step against the number of replicas](../figures/{PLOT.name})"
    return "\n\n".join([*_measured(), fill(text, 100), "\n".join(lines), plot])


def _measured() -> list[str]:
    """What benchmarks/distributed.py has written, if it has."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    text = (
        f"Measured by `benchmarks/distributed.py` on the processes of one machine ({first['cpu']}, "
        f"{first['cores']} cores; TensorFlow {first['tensorflow']}), one thread each, B="
        f"{int(first['batch']):,} examples of all processes, V={int(first['classes']):,}, D="
        f"{first['dim']}, S=1,024: bytes a process sends and receives by the loopback's counter, "
        "and on paper. The processes share the processors, so the times say nothing of several "
        "machines."
    )
    lines = [
        "| step with SGD | processes | ms | MB measured | MB on paper | collectives |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row['case']}, {row['contestant']}",
            row["processes"],
            f"{float(row['median_s']) * 1e3:.1f}",
            f"{int(row['wire_bytes']) / 1e6:.2f}",
            f"{int(row['model_bytes']) / 1e6:.2f}",
            row["collectives"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [fill(text, 100), "\n".join(lines)]


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def plot(path: Path) -> None:
    """Bytes of a step against the number of replicas, of a million classes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    replicas = [2, 4, 8, 16, 32, 64, 125, 250, 500, 1000]
    figure, panel = pyplot.subplots(figsize=(5.2, 3.4), layout="constrained")
    for name, formula in BYTES.items():
        values = [formula(Problem(n, 256, 10**6, 128)) / 1e6 for n in replicas]
        panel.loglog(replicas, values, "o-", markersize=3, label=name)
    panel.set_xlabel("replicas")
    panel.set_ylabel("MB that a replica sends in a step")
    panel.set_title("On paper: V=1,000,000 D=128, 256 examples a replica, one group", fontsize=9)
    panel.grid(alpha=0.3)
    panel.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def replaced(page: str, text: str) -> str:
    """The page with this text between its two comments."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="FILE")
    options = parser.parse_args()
    options.page.write_text(replaced(options.page.read_text(), section()))
    plot(options.plot)


if __name__ == "__main__":
    main()
