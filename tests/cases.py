"""The one table of cases, each with the reason it exists, and the numbers they are made of.

NumPy alone: the tests of the core, which run without TensorFlow, may draw from it too.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Every way to ask for a loss: the function, and which classes compete.
IDS = ("exact", "sampled", "sampled_own", "negatives", "negatives_own")
ACTIVATIONS = ("linear", "tf_nn_softmax", "tf_nn_nce")
LOSSES = IDS + ACTIVATIONS
EXACT = ("exact", "linear")
SAMPLED = tuple(loss for loss in LOSSES if loss not in EXACT)
SOFTMAX = ("exact", "sampled", "sampled_own", "linear", "tf_nn_softmax")
LOGISTIC = tuple(loss for loss in LOSSES if loss not in SOFTMAX)
SHARED = ("sampled", "negatives", "tf_nn_softmax", "tf_nn_nce")
OWN = ("sampled_own", "negatives_own")  # a list of sampled classes per example

DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Case:
    """One problem, for each of ``losses``.

    Attributes:
        inputs: "ids" [batch], "scalar", "padded" bags, or "ragged" bags; ``losses`` that take
            activations take them [batch, dim] whatever this says.
        values: How the tables are filled: "normal"; "grid", multiples of 1/4 and expected counts of
            1, so that logits are exact in float32; or "huge", logits of about 1e4 of either sign.
        ids: "random" (with repetitions) or "equal": one id, label and sampled class everywhere.
        offset: Added to all biases (rounded to what float16 holds, 32768, in that dtype).
    """

    name: str
    why: str
    losses: tuple[str, ...] = LOSSES
    dtypes: tuple[str, ...] = DTYPES
    batch: int = 6
    rows: int = 9
    classes: int = 13
    dim: int = 6
    num_true: int = 1
    num_sampled: int = 7
    inputs: str = "ids"
    values: str = "normal"
    ids: str = "random"
    biases: bool = True
    offset: float = 0.0
    options: Mapping[str, Any] = field(default_factory=dict)


def _widths() -> list[Case]:
    whys = {
        1: "the narrowest table",
        3: "below every vector",
        4: "the vector of doubles with AVX2, of floats with SSE and NEON",
        5: "one past a vector of 4",
        7: "one below a vector of 8",
        8: "the vector of floats with AVX2, of doubles with AVX-512",
        9: "one past a vector of 8",
        15: "one below a vector of 16",
        16: "the vector of floats with AVX-512",
        17: "one past a vector of 16",
        31: "one below two vectors of 16",
        32: "two vectors of 16, the row of a bfloat16 tile",
        33: "one past two vectors of 16",
        100: "many vectors and a rest of 4",
    }
    losses = ("exact", "sampled", "negatives_own")  # each kind of product with the rows
    return [Case(f"width {dim}", why, losses, dim=dim) for dim, why in whys.items()]


def _classes() -> list[Case]:
    whys = {
        2: "two classes",
        95: "one below a tile of classes",
        96: "a tile of classes",
        97: "one past a tile",
        289: "one past a chunk of classes, so that partial sums are combined",
        3000: "many chunks, the last one partial",
    }
    return [
        Case(f"{classes} classes", why, losses=EXACT, classes=classes)
        for classes, why in whys.items()
    ]


def _batches() -> list[Case]:
    whys = {
        1: "a batch of one",
        71: "one below a tile of rows",
        72: "a tile of rows",
        73: "one past a tile of rows",
        97: "a tile of rows and a rest",
        289: "several runs of row tiles, whose sums are combined",
    }
    return [
        Case(f"batch {batch}", why, batch=batch, rows=50, classes=40, num_sampled=20)
        for batch, why in whys.items()
    ]


CASES = (
    Case("plain", "nothing special: repeated ids, labels and samples, an accidental hit twice"),
    Case("batch 0", "an empty batch has no loss and zero gradients", batch=0),
    Case("scalar", "one example without a batch axis", losses=IDS, batch=1, inputs="scalar"),
    Case("one class", "the softmax of one logit: loss exactly 0", SOFTMAX, classes=1),
    Case("one row", "an embedding table of one row", losses=IDS, rows=1),
    Case("all equal", "every id, label and sample is the same row", ids="equal"),
    Case(
        "all equal, hits kept",
        "a label that competes with itself",
        losses=SAMPLED,
        ids="equal",
        options={"remove_accidental_hits": False},
    ),
    Case(
        "hits kept",
        "accidental hits that compete, once and twice",
        losses=SAMPLED,
        num_true=2,
        options={"remove_accidental_hits": False},
    ),
    Case(
        "hits removed",
        "several labels, each of which may be hit",
        losses=SAMPLED,
        num_true=2,
        num_sampled=20,
        options={"remove_accidental_hits": True},
    ),
    Case("two labels", "num_true > 1, a label twice in one example", num_true=2),
    Case("four labels", "num_true > 1, more labels than vector lanes of doubles", num_true=4),
    Case("no biases", "biases are optional", biases=False),
    Case("one sample", "a single sampled class", losses=SAMPLED, num_sampled=1),
    Case(
        "more samples than a tile",
        "shared samples fill tiles and chunks of classes too",
        losses=SAMPLED,
        classes=500,
        num_sampled=300,
    ),
    Case("huge logits", "logits of about 1e4 of either sign", values="huge", num_sampled=3),
    Case(
        "huge logits, two labels",
        "far below the maximum and at it in one example",
        values="huge",
        num_true=2,
        num_sampled=3,
    ),
    Case(
        "common offset",
        "an offset of 1e6 on all logits cancels without a trace; the logits are exact in float32, "
        "so that nothing hides a difference of large numbers",
        losses=("exact", "sampled", "sampled_own", "linear"),
        dim=4,
        values="grid",
        offset=1e6,
    ),
    Case(
        "common negative offset",
        "the same downwards",
        losses=("exact", "sampled", "sampled_own", "linear"),
        dim=4,
        values="grid",
        offset=-1e6,
    ),
    Case("padded bags", "CBOW: a negative id is padding", losses=IDS, inputs="padded"),
    Case(
        "padded bags, sum",
        "the other combiner",
        losses=IDS,
        inputs="padded",
        options={"combiner": "sum"},
    ),
    Case("ragged bags", "bags of different sizes", losses=IDS, inputs="ragged"),
    Case(
        "ragged bags, sum",
        "the other combiner",
        losses=IDS,
        inputs="ragged",
        options={"combiner": "sum"},
    ),
    Case("equal bags", "one id many times in one bag", losses=IDS, inputs="padded", ids="equal"),
    Case("scale", "a temperature of 4", options={"logit_scale": 0.25}),
    Case("negative scale", "nothing says that a scale is positive", options={"logit_scale": -2.0}),
    Case("soft cap", "logits bounded", options={"logit_softcap": 2.0}),
    Case(
        "soft cap of huge logits",
        "the cap is reached, and its slope is 0",
        values="huge",
        options={"logit_softcap": 30.0},
    ),
    Case("z loss", "the normalizer is drawn to 1", SOFTMAX, options={"z_loss": 0.25}),
    Case(
        "smoothing", "part of the target for all classes", EXACT, options={"label_smoothing": 0.25}
    ),
    Case(
        "smoothing of huge logits",
        "the mean of the logits is far below the maximum",
        EXACT,
        values="huge",
        options={"label_smoothing": 0.5},
    ),
    Case("margin", "the labels' logits are lowered", EXACT, options={"margin": 0.75}),
    Case(
        "margin of several labels",
        "a class that is a label twice loses it once; smoothing sees the lowered logits",
        EXACT,
        num_true=3,
        options={"margin": 1.5, "label_smoothing": 0.25},
    ),
    Case(
        "margin of huge logits",
        "the label may be the largest logit by far, and the normalizer loses it",
        EXACT,
        values="huge",
        options={"margin": 500.0},
    ),
    Case("ignored", "a label that is no class", num_true=1, options={"ignore_label": -1}),
    Case(
        "ignored among others",
        "some, all or none of an example's labels are ignored",
        num_true=2,
        batch=12,
        options={"ignore_label": -100},
    ),
    Case(
        "ignored class",
        "the ignored label is a class: it still competes, and is no accidental hit",
        num_true=2,
        batch=12,
        options={"ignore_label": 3},
    ),
    Case(
        "all options, softmax",
        "what is right alone may be wrong together",
        SOFTMAX,
        batch=12,
        num_true=2,
        inputs="padded",
        options={
            "logit_scale": 0.5,
            "logit_softcap": 2.0,
            "z_loss": 0.25,
            "ignore_label": -1,
        },
    ),
    Case(
        "all options, exact",
        "the same with smoothing",
        EXACT,
        batch=12,
        num_true=2,
        inputs="ragged",
        options={
            "logit_scale": 0.5,
            "logit_softcap": 2.0,
            "z_loss": 0.25,
            "ignore_label": -1,
            "label_smoothing": 0.25,
            "margin": 0.5,
        },
    ),
    Case(
        "all options, logistic",
        "the same for the other link",
        LOGISTIC,
        batch=12,
        num_true=2,
        inputs="padded",
        options={"logit_scale": 0.5, "logit_softcap": 2.0, "ignore_label": -1},
    ),
    *_widths(),
    *_classes(),
    *_batches(),
    Case(
        "batch 1300",
        "more rows than are worked on at a time, 1152",
        losses=("exact", "linear", "sampled", "tf_nn_nce"),
        dtypes=("float64", "float32", "bfloat16"),
        batch=1300,
        rows=700,
        classes=300,
        num_sampled=100,
        dim=8,
    ),
)

BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES)


@dataclass(frozen=True)
class Numbers:
    """The arguments of one case in float64 and int64; what a loss does not take is None."""

    embeddings: np.ndarray | None
    activations: np.ndarray | None
    weights: np.ndarray
    biases: np.ndarray | None
    inputs: np.ndarray | list[list[int]] | None  # a list of lists: ragged bags
    labels: np.ndarray
    sampled: np.ndarray | None
    true_expected_count: np.ndarray | None
    sampled_expected_count: np.ndarray | None
    upstream: np.ndarray  # a gradient that arrives at the losses, different for each


def draw(case: Case, loss: str) -> Numbers:
    """The numbers of a case, the same at every call."""
    if loss not in case.losses:
        raise ValueError(f"case {case.name!r} is not for {loss!r}")
    rng = np.random.default_rng(zlib.crc32(f"{case.name}/{loss}".encode()))
    by_ids = loss in IDS
    hidden = _table(rng, case, case.rows if by_ids else case.batch)
    weights = _table(rng, case, case.classes)
    biases = None
    if case.biases and not loss.startswith("negatives"):
        biases = _table(rng, case, case.classes)[:, 0] + case.offset
    labels = _ids(rng, case, [case.batch, case.num_true], case.classes)
    if case.num_true > 1:
        labels[1::3, 1] = labels[1::3, 0]
    sampled, counts = None, (None, None)
    if loss in SAMPLED:
        shape = [case.batch, case.num_sampled] if loss in OWN else [case.num_sampled]
        sampled = _ids(rng, case, shape, case.classes)
        if case.batch:
            sampled[..., :2] = labels[0, 0]  # an accidental hit that occurs twice
        low, high = (1.0, 1.0) if case.values == "grid" else (0.1, 2.0)
        counts = tuple(
            rng.uniform(low, high, shape).astype(np.float32)
            for shape in (labels.shape, sampled.shape)
        )
    if "ignore_label" in case.options:
        if sampled is not None:
            sampled[..., -1] = max(case.options["ignore_label"], 0)
        labels[rng.random(labels.shape) < 0.3] = case.options["ignore_label"]
        labels[0] = case.options["ignore_label"]
    if case.num_true == 1 and not loss.startswith("tf_nn"):
        labels = labels[:, 0]
    inputs = _inputs(rng, case) if by_ids else None
    if case.inputs == "scalar":
        labels = labels[0]
    return Numbers(
        embeddings=hidden if by_ids else None,
        activations=None if by_ids else hidden,
        weights=weights,
        biases=biases,
        inputs=inputs,
        labels=labels,
        sampled=sampled,
        true_expected_count=counts[0],
        sampled_expected_count=counts[1],
        upstream=rng.normal(size=[] if case.inputs == "scalar" and by_ids else [case.batch]),
    )


def _table(rng: np.random.Generator, case: Case, rows: int) -> np.ndarray:
    if case.values == "grid":
        return rng.integers(-4, 5, [rows, case.dim]) / 4
    table = rng.normal(size=[rows, case.dim])
    if case.values == "huge":
        return 100 * table / case.dim**0.25
    return table


def _ids(rng: np.random.Generator, case: Case, shape: list[int], rows: int) -> np.ndarray:
    if case.ids == "equal":
        return np.full(shape, rows // 2, np.int64)
    return rng.integers(0, rows, shape)


def _inputs(rng: np.random.Generator, case: Case) -> np.ndarray | list[list[int]]:
    if case.inputs == "scalar":
        return _ids(rng, case, [], case.rows)
    if case.inputs == "ids":
        return _ids(rng, case, [case.batch], case.rows)
    bags = _ids(rng, case, [case.batch, 5], case.rows)
    sizes = rng.integers(1, 6, case.batch)
    if case.inputs == "ragged":
        return [bag[:size].tolist() for bag, size in zip(bags, sizes, strict=True)]
    padding = rng.permuted(np.arange(5) >= sizes[:, np.newaxis], axis=1)
    return np.where(padding, -1 - bags, bags)
