"""The 100 classes of largest logit, against TensorFlow and XLA.

TensorFlow is tf.math.top_k of tf.linalg.matmul in a tf.function, XLA the same with
jit_compile=True.
"""

from __future__ import annotations

from dataclasses import replace

import harness
import numpy as np
import tensorflow as tf
from harness import Case, Step

import fastw2v

K = 100
_BASE = Case("top_k", batch=256, classes=100_000, dim=128, reduction="")
BAR = (
    *(replace(_BASE, batch=batch) for batch in (1, 64, 256, 1024)),
    *(replace(_BASE, batch=batch, classes=1_000_000) for batch in (1, 64, 256)),
)
QUICK = (replace(_BASE, batch=8, classes=300, dim=20), replace(_BASE, batch=1, classes=300, dim=20))


def steps(case: Case) -> dict[str, Step]:
    """Each contestant finds logits, and classes in place of gradients."""
    rng = np.random.default_rng(1)
    k = min(K, case.classes)
    hidden = tf.constant(rng.standard_normal((case.batch, case.dim), np.float32))
    weights = tf.Variable(rng.standard_normal((case.classes, case.dim), np.float32))

    def ours() -> tuple[tf.Tensor, list]:
        values, indices = fastw2v.top_k(hidden, weights, k=k)
        return values, [indices]

    def tensorflow() -> tuple[tf.Tensor, list]:
        values, indices = tf.math.top_k(tf.linalg.matmul(hidden, weights, transpose_b=True), k)
        return values, [indices]

    return {
        harness.OURS: tf.function(ours),
        "TensorFlow": tf.function(tensorflow),
        "XLA": tf.function(tensorflow, jit_compile=True),
    }


def main() -> None:
    options = harness.options(__doc__, "top_k")
    harness.run(QUICK if options.quick else BAR, steps, options)


if __name__ == "__main__":
    main()
