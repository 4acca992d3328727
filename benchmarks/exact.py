"""Exact softmax cross-entropy, forward and backward, against TensorFlow, XLA and PyTorch.

All contestants compute the loss and the gradients of all float arguments in the same dtype.
TensorFlow is tf.matmul and tf.nn.sparse_softmax_cross_entropy_with_logits in a tf.function, XLA the
same with jit_compile=True, PyTorch (where it is installed) linear and cross_entropy. With
compute_dtype="bfloat16" the peers multiply in bfloat16 too, and TensorFlow's float32 runs beside.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import harness
import machine
import numpy as np
import tensorflow as tf
from harness import Case, Step

import fastw2v

_BASE = Case("linear_cross_entropy", batch=1024, classes=50_000, dim=128)
BAR = (
    _BASE,
    replace(_BASE, reduction="none"),
    replace(_BASE, loss="softmax_loss"),
    replace(_BASE, dim=300),
    replace(_BASE, dim=100),
    replace(_BASE, compute_dtype="bfloat16"),
    replace(_BASE, classes=200_000),
    replace(_BASE, classes=1_000_000),
)
_SMALL = replace(_BASE, batch=8, classes=300, dim=20)
QUICK = (
    replace(_SMALL, reduction="none"),
    replace(_SMALL, loss="softmax_loss", compute_dtype="bfloat16"),
)
# One size at a time from the base, then the corners.
SWEEP = tuple(
    dict.fromkeys(
        [replace(_BASE, classes=v) for v in (10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000)]
        + [replace(_BASE, dim=d) for d in (64, 100, 128, 300, 512, 1024)]
        + [replace(_BASE, batch=b) for b in (1, 8, 64, 256, 1024, 8192)]
        + [
            replace(_BASE, batch=1, classes=1_000_000),
            replace(_BASE, batch=1, classes=10_000, dim=64),
            replace(_BASE, batch=64, classes=10_000, dim=1024),
            replace(_BASE, batch=8192, classes=10_000, dim=64),
        ]
    )
)


class Problem:
    """The arguments of a case, and each library's step on them.

    "linear_cross_entropy" has activations and no biases; "softmax_loss" has ids of embedding rows,
    and biases.
    """

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(1)

        def normal(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, np.float32)

        self.case = case
        self.gathers = case.loss == "softmax_loss"
        self.labels = tf.constant(rng.integers(case.classes, size=case.batch))
        self.upstream = None
        if case.reduction == "none":
            self.upstream = tf.constant(normal(case.batch))
        # Logits of about 1.
        self.weights = tf.Variable(normal(case.classes, case.dim) / np.float32(case.dim) ** 0.5)
        if self.gathers:
            self.ids = tf.constant(rng.integers(case.classes, size=case.batch))
            self.embeddings = tf.Variable(normal(case.classes, case.dim))
            self.biases = tf.Variable(normal(case.classes))
            self.sources = [self.embeddings, self.weights, self.biases]
        else:
            self.hidden = tf.constant(normal(case.batch, case.dim))
            self.sources = [self.hidden, self.weights]

    def steps(self) -> dict[str, Step]:
        """One forward and backward of each contestant."""
        contestants = {
            harness.OURS: tf.function(self.fastw2v),
            "TensorFlow": tf.function(self.tensorflow),
        }
        peer, suffix = self.tensorflow, ""
        if self.case.compute_dtype == "bfloat16":
            peer, suffix = self.tensorflow_bfloat16, " bfloat16"
            contestants["TensorFlow bfloat16"] = tf.function(peer)
        contestants["XLA" + suffix] = tf.function(peer, jit_compile=True)
        if machine.HAS_PYTORCH:
            contestants["PyTorch" + suffix] = self.pytorch()
        return contestants

    def fastw2v(self) -> tuple[tf.Tensor, list]:
        options = {"reduction": self.case.reduction}
        if self.case.compute_dtype != "float32":
            options["compute_dtype"] = self.case.compute_dtype
        with tf.GradientTape() as tape:
            if self.gathers:
                loss = fastw2v.softmax_loss(*self.sources, self.ids, self.labels, **options)
            else:
                tape.watch(self.hidden)
                loss = fastw2v.linear_cross_entropy(
                    self.labels, self.hidden, self.weights, **options
                )
        return loss, tape.gradient(loss, self.sources, self.upstream)

    def tensorflow(self, dtype: str = "float32") -> tuple[tf.Tensor, list]:
        with tf.GradientTape() as tape:
            if self.gathers:
                hidden = tf.gather(self.embeddings, self.ids)
            else:
                tape.watch(self.hidden)
                hidden = self.hidden
            logits = tf.matmul(
                tf.cast(hidden, dtype), tf.cast(self.weights, dtype), transpose_b=True
            )
            logits = tf.cast(logits, tf.float32)
            if self.gathers:
                logits += self.biases
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(self.labels, logits)
            if self.case.reduction == "mean":
                loss = tf.reduce_mean(loss)
        return loss, tape.gradient(loss, self.sources, self.upstream)

    def tensorflow_bfloat16(self) -> tuple[tf.Tensor, list]:
        return self.tensorflow("bfloat16")

    def pytorch(self) -> Step:
        import torch
        from torch.nn import functional

        def tensor(value: Any) -> Any:
            return torch.from_numpy(value.numpy().copy())

        labels = tensor(self.labels)
        upstream = None if self.upstream is None else tensor(self.upstream)
        sources = [tensor(source).requires_grad_() for source in self.sources]
        ids = tensor(self.ids) if self.gathers else None
        bfloat16 = self.case.compute_dtype == "bfloat16"

        def step() -> tuple[np.ndarray, list]:
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                hidden, *linear = sources
                if ids is not None:
                    hidden = functional.embedding(ids, hidden, sparse=True)
                loss = functional.cross_entropy(
                    functional.linear(hidden, *linear), labels, reduction=self.case.reduction
                )
            gradients = torch.autograd.grad(loss, sources, upstream)
            return loss.detach().numpy(), [as_numpy(gradient) for gradient in gradients]

        def as_numpy(gradient: Any) -> Any:
            if not gradient.is_sparse:
                return gradient.numpy()
            values, rows = gradient._values().numpy(), gradient._indices()[0].numpy()
            return tf.IndexedSlices(values, rows, tuple(gradient.shape))

        return step


def steps(case: Case) -> dict[str, Step]:
    return Problem(case).steps()


def main() -> None:
    options = harness.options(__doc__, "exact", sweep=True)
    harness.run(QUICK if options.quick else SWEEP if options.sweep else BAR, steps, options)


if __name__ == "__main__":
    main()
