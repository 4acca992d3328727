"""The adaptive softmax, forward and backward, against TensorFlow and PyTorch.

All contestants compute the mean loss and its gradients by activations, head and clusters in
float32. TensorFlow gathers the examples of each cluster and multiplies, in a tf.function; PyTorch,
where it is installed, is AdaptiveLogSoftmaxWithLoss. Labels are drawn from a log-uniform
distribution, as words are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import harness
import machine
import numpy as np
import tensorflow as tf
from harness import Case, Step

import fastw2v

_DIV_VALUE = 4.0


@dataclass(frozen=True)
class Adaptive(Case):
    """A case with clusters.

    Attributes:
        cutoffs: Where clusters begin.
    """

    cutoffs: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        return "cutoffs " + " ".join(f"{cutoff:,}" for cutoff in self.cutoffs)

    def labels(self) -> np.ndarray:
        """Of the examples: class k with probability log((k + 2) / (k + 1)) / log(V + 1)."""
        uniform = np.random.default_rng(1).random(self.batch)
        return np.exp(uniform * np.log(self.classes + 1)).astype(np.int64) - 1

    def width(self, cluster: int) -> int:
        return max(1, int(self.dim / _DIV_VALUE ** (cluster + 1)))

    def sizes(self) -> list[int]:
        """Classes of each cluster."""
        return [end - begin for begin, end in pairwise((*self.cutoffs, self.classes))]

    def examples(self) -> list[int]:
        """With their label in each cluster."""
        cluster = np.searchsorted(self.cutoffs, self.labels(), side="right")
        return [int(np.count_nonzero(cluster == i + 1)) for i in range(len(self.cutoffs))]

    @property
    def head_rows(self) -> int:
        return self.cutoffs[0] + len(self.cutoffs)

    @property
    def operations(self) -> int:
        total = self.batch * self.head_rows * self.dim
        for i, (examples, size) in enumerate(zip(self.examples(), self.sizes(), strict=True)):
            total += examples * self.width(i) * (size + self.dim)
        return self.products * total

    @property
    def counted(self) -> str:
        return f"{self.products} for each multiplication"

    @property
    def logits_bytes(self) -> int:
        of_clusters = np.multiply(self.examples(), self.sizes())
        return 4 * int(max(self.batch * self.head_rows, *of_clusters))

    def smallest(self) -> Case:
        return replace(self, batch=4, classes=64, dim=8, cutoffs=(4, 16))


_BASE = Adaptive("adaptive_softmax_loss", batch=1024, classes=200_000, dim=512)
BAR = (
    replace(_BASE, cutoffs=(2_000, 20_000)),
    replace(_BASE, cutoffs=(10_000, 50_000)),
    replace(_BASE, cutoffs=(1_000, 10_000, 100_000)),
    replace(_BASE, dim=128, cutoffs=(2_000, 20_000)),
    replace(_BASE, classes=1_000_000, dim=128, cutoffs=(5_000, 50_000)),
)
_SMALL = replace(_BASE, batch=16, classes=300, dim=20)
QUICK = (replace(_SMALL, cutoffs=(10, 100)), replace(_SMALL, cutoffs=(20,)))


class Problem:
    """The arguments of a case, and each library's step on them."""

    def __init__(self, case: Adaptive) -> None:
        rng = np.random.default_rng(1)

        def normal(*shape: int) -> np.ndarray:  # products of about 1
            return rng.standard_normal(shape, np.float32) / np.float32(shape[-1]) ** 0.5

        self.case = case
        self.labels = tf.constant(case.labels())
        self.hidden = tf.constant(rng.standard_normal((case.batch, case.dim), np.float32))
        self.head = tf.Variable(normal(case.head_rows, case.dim))
        self.tails = [
            (tf.Variable(normal(case.dim, case.width(i))), tf.Variable(normal(size, case.width(i))))
            for i, size in enumerate(case.sizes())
        ]
        self.sources = [self.hidden, self.head, *(part for tail in self.tails for part in tail)]

    def steps(self) -> dict[str, Step]:
        """One forward and backward of each contestant."""
        contestants = {
            harness.OURS: tf.function(self.fastw2v),
            "TensorFlow": tf.function(self.tensorflow),
        }
        if machine.HAS_PYTORCH:
            contestants["PyTorch"] = self.pytorch()
        return contestants

    def fastw2v(self) -> tuple[tf.Tensor, list]:
        with tf.GradientTape() as tape:
            tape.watch(self.hidden)
            loss = fastw2v.adaptive_softmax_loss(
                self.labels, self.hidden, self.head, self.tails, reduction="mean"
            )
        return loss, tape.gradient(loss, self.sources)

    def tensorflow(self) -> tuple[tf.Tensor, list]:
        cutoffs = self.case.cutoffs
        with tf.GradientTape() as tape:
            tape.watch(self.hidden)
            cluster = tf.searchsorted(tf.constant(cutoffs, tf.int64), self.labels, side="right")
            in_head = tf.where(
                cluster == 0, self.labels, cutoffs[0] - 1 + tf.cast(cluster, tf.int64)
            )
            total = tf.reduce_sum(_cross_entropy(self.hidden, self.head, in_head))
            for i, (projection, weights) in enumerate(self.tails):
                places = tf.where(cluster == i + 1)[:, 0]
                narrow = tf.matmul(tf.gather(self.hidden, places), projection)
                labels = tf.gather(self.labels, places) - cutoffs[i]
                total += tf.reduce_sum(_cross_entropy(narrow, weights, labels))
            loss = total / self.case.batch
        return loss, tape.gradient(loss, self.sources)

    def pytorch(self) -> Step:
        import torch

        def tensor(value: Any) -> Any:
            return torch.from_numpy(value.numpy().copy())

        case = self.case
        model = torch.nn.AdaptiveLogSoftmaxWithLoss(
            case.dim, case.classes, list(case.cutoffs), div_value=_DIV_VALUE
        )
        with torch.no_grad():
            model.head.weight.copy_(tensor(self.head))
            for (projection, weights), tail in zip(self.tails, model.tail, strict=True):
                tail[0].weight.copy_(tensor(projection).T)
                tail[1].weight.copy_(tensor(weights))
        labels, hidden = tensor(self.labels), tensor(self.hidden).requires_grad_()
        sources = [hidden, *model.parameters()]

        def step() -> tuple[np.ndarray, list]:
            loss = model(hidden, labels).loss
            gradients = torch.autograd.grad(loss, sources)
            return loss.detach().numpy(), [gradient.numpy() for gradient in gradients]

        return step


def _cross_entropy(hidden: tf.Tensor, weights: Any, labels: tf.Tensor) -> tf.Tensor:
    logits = tf.matmul(hidden, weights, transpose_b=True)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def steps(case: Adaptive) -> dict[str, Step]:
    return Problem(case).steps()


def main() -> None:
    options = harness.options(__doc__, "adaptive")
    harness.run(QUICK if options.quick else BAR, steps, options)


if __name__ == "__main__":
    main()
