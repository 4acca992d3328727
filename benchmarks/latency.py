"""Small problems, where the cost of calling counts: in a tf.function, compiled by XLA, and eagerly.

The contestants are those of exact.py and sampled.py.
"""

from __future__ import annotations

from dataclasses import replace

import exact
import harness
import sampled
from harness import Case, Step

_EXACT = Case("linear_cross_entropy", batch=1, classes=10_000, dim=128)
_SAMPLED = Case("sampled_softmax_loss", batch=1, classes=1_000_000, dim=128, sampled=64)
_NEGATIVES = replace(_SAMPLED, loss="negative_sampling_loss", sampled=5, per_example=True)
BATCHES = (1, 8, 64)
CASES = tuple(
    replace(case, batch=batch) for case in (_EXACT, _SAMPLED, _NEGATIVES) for batch in BATCHES
)
QUICK = (replace(_EXACT, classes=100), replace(_NEGATIVES, classes=100))


def steps(case: Case) -> dict[str, Step]:
    problem = sampled.Problem(case) if case.sampled else exact.Problem(case)
    eager = {"fastw2v, eager": problem.fastw2v, "TensorFlow, eager": problem.tensorflow}
    return problem.steps() | eager


def main() -> None:
    options = harness.options(__doc__, "latency")
    harness.run(QUICK if options.quick else CASES, steps, options, measure_memory=False)


if __name__ == "__main__":
    main()
