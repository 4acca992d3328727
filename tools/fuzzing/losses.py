"""Every public loss and its gradients against NumPy's float64, and against the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing import numpy_losses
from fuzzing.harness import Case, Fault
from fuzzing.numpy_losses import Bounded, Problem

SECONDS, MEGABYTES = 60.0, 1024.0
UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST = {"float64": 0.0, "float32": 1e-37, "float16": 2.0**-24, "bfloat16": 1e-37}
# The largest finite numbers; others are out of reach here.
LARGEST = {"float64": np.inf, "float32": np.inf, "float16": 65504.0, "bfloat16": np.inf}
LOSSES = (
    "softmax_loss",
    "softmax_loss sampled",
    "linear_cross_entropy",
    "sampled_softmax_loss",
    "nce_loss",
    "negative_sampling_loss",
)
TF_NN = ("sampled_softmax_loss", "nce_loss")
BY_IDS = ("softmax_loss", "softmax_loss sampled", "negative_sampling_loss")


@dataclass
class Call:
    """A random call: what the library is given, and the same for NumPy."""

    name: str
    dtype: str
    tables: dict[str, np.ndarray]  # embeddings or activations, weights, biases; float64
    arguments: dict[str, Any]
    problem: Problem
    bags: np.ndarray | None  # [B, rows], what makes hidden rows of embeddings
    reduction: str = "none"
    sample_weight: np.ndarray | None = None
    upstream: np.ndarray = field(default_factory=lambda: np.ones([]))
    shape: tuple[int, ...] = ()  # of the losses


def case(case: Case) -> None:
    call = draw(case)
    losses, gradients = _by_the_library(case, call)
    _check_against_numpy(call, losses, gradients)
    _check_reference(call)


def draw(case: Case) -> Call:
    rng = case.rng
    name = case.one_of(*LOSSES)
    dtype = case.one_of("float32", "float32", "float64", "float16", "bfloat16")
    batch, width = case.size(60), case.size(80)
    classes, rows = case.size(300), case.size(60)
    spread = case.one_of(0.3, 1.0, 4.0) / width**0.25

    def table(*shape: int) -> np.ndarray:
        values = spread * rng.normal(size=shape)
        if case.chance(0.1):
            values = np.round(values)  # ties, and logits that are exact
        return _kept(values, dtype)

    tables = {"weights": table(classes, width)}
    if name != "negative_sampling_loss" and case.chance(0.7):
        tables["biases"] = table(classes)
    arguments: dict[str, Any] = {}
    bags, shape = None, (batch,)
    if name in BY_IDS:
        tables["embeddings"] = table(rows, width)
        arguments["inputs"], bags, arguments["combiner"], shape = _ids(case, batch, rows)
        hidden = bags @ tables["embeddings"]
        terms = np.count_nonzero(bags, axis=1)[:, np.newaxis]
        unit = UNITS["float64" if dtype == "float64" else "float32"]
        hidden_bound = (terms + 4) * unit * (np.abs(bags) @ np.abs(tables["embeddings"]))
        hidden_bound = np.where((terms == 1) & (np.max(bags, axis=1, keepdims=True) == 1), 0,
                                hidden_bound)  # fmt: skip
    else:
        if name == "linear_cross_entropy" and case.chance(0.3):
            shape = case.one_of((), (case.size(6), case.size(6)))
        tables["activations"] = table(*shape, width)
        hidden = tables["activations"].reshape(-1, width)
        hidden_bound = np.zeros(hidden.shape)
    batch = len(hidden)

    options = _options(case, name, dtype)
    num_true = case.one_of(1, 1, 2, 5)
    labels = rng.integers(0, classes, (batch, num_true))
    sampled, counts = None, None
    if name not in ("softmax_loss", "linear_cross_entropy"):
        sampled, counts = _sampled(case, name, labels, classes)
        arguments["sampled_values"] = (sampled, *(counts or (None, None)))
        hits = name != "nce_loss"
        if case.chance(0.5):
            hits = arguments["remove_accidental_hits"] = case.chance(0.5)
    if case.chance(0.3):
        options["ignore_label"] = case.one_of(-1, -100, int(rng.integers(classes)))
        labels[rng.random(labels.shape) < 0.3] = options["ignore_label"]
    flat = num_true == 1 and name not in TF_NN and case.chance(0.7)
    arguments["labels"] = labels.reshape(shape if flat else (*shape, num_true))
    if name in TF_NN:
        arguments.update(num_sampled=sampled.shape[-1], num_classes=classes, num_true=num_true)

    reduction, weight = case.one_of("none", "none", "sum", "mean"), None
    if case.chance(0.4):
        weight = rng.uniform(0.1, 2, shape).astype(np.float32)
    upstream = rng.normal(size=shape if reduction == "none" else ())
    # What the losses of tf.nn return is in the dtype of their inputs, and so is what flows back.
    upstream = _kept(upstream, dtype if name in TF_NN else "float32")
    problem = Problem(
        hidden,
        hidden_bound,
        tables["weights"],
        tables.get("biases"),
        labels,
        upstream=np.zeros(batch),
        sampled=sampled,
        counts=counts,
        logistic=name in ("nce_loss", "negative_sampling_loss"),
        target=1 / num_true if name == "nce_loss" else 1.0,
        remove_accidental_hits=sampled is not None and hits,
        **{key: value for key, value in options.items() if key != "compute_dtype"},
        bfloat16=options.get("compute_dtype") == "bfloat16",
    )
    factors = _factors(problem, reduction, weight, upstream)
    problem = Problem(**{**vars(problem), "upstream": factors})
    arguments.update(options)
    return Call(name, dtype, tables, arguments, problem, bags, reduction, weight, upstream, shape)


def _kept(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(tf.cast(values, dtype).numpy().astype(np.float64))


def _ids(case: Case, batch: int, rows: int) -> tuple[Any, np.ndarray, str, tuple[int, ...]]:
    """The argument ``inputs``, the matrix of bags, the combiner and the shape of the losses."""
    form = case.one_of("ids", "padded", "ragged", "scalar")
    combiner = case.one_of("mean", "sum")
    if form in ("ids", "scalar"):
        ids = case.rng.integers(0, rows, batch if form == "ids" else 1)
        bags = np.zeros((len(ids), rows))
        bags[np.arange(len(ids)), ids] = 1
        if form == "scalar":
            return ids[0], bags, combiner, ()
        return ids, bags, combiner, (batch,)
    widest = case.size(9)
    ids = case.rng.integers(0, rows, (batch, widest))
    lengths = case.rng.integers(1, widest + 1, batch)
    there = np.arange(widest) < lengths[:, np.newaxis]
    bags = np.zeros((batch, rows))
    np.add.at(bags, (np.nonzero(there)[0], ids[there]), 1)
    if combiner == "mean":
        bags /= lengths[:, np.newaxis]
    if form == "ragged":
        return tf.RaggedTensor.from_row_lengths(ids[there], lengths), bags, combiner, (batch,)
    order = case.rng.permuted(np.tile(np.arange(widest), (batch, 1)), axis=1)
    padded = np.where(there, ids, -1 - ids)
    return np.take_along_axis(padded, order, axis=1), bags, combiner, (batch,)


def _options(case: Case, name: str, dtype: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if case.chance(0.3):
        options["logit_scale"] = float(np.float32(case.one_of(0.1, -0.5, 2.0, 3.0, 1 / 0.07)))
    if case.chance(0.3):
        options["logit_softcap"] = float(np.float32(case.one_of(0.5, 2.0, 30.0)))
    if name not in ("nce_loss", "negative_sampling_loss") and case.chance(0.3):
        options["z_loss"] = float(np.float32(case.one_of(1e-4, 0.1)))
    if name in ("softmax_loss", "linear_cross_entropy") and case.chance(0.3):
        options["label_smoothing"] = float(np.float32(case.one_of(0.1, 0.9)))
    if name in ("softmax_loss", "linear_cross_entropy") and case.chance(0.3):
        options["margin"] = float(np.float32(case.one_of(0.2, 3.0, 40.0)))
    if dtype != "float64" and case.chance(0.25):
        options["compute_dtype"] = "bfloat16"
    return options


def _sampled(
    case: Case, name: str, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
    own = case.chance(0.5)
    shape = (len(labels), case.size(40)) if own else (case.size(120),)
    sampled = case.rng.integers(0, classes, shape)
    sampled[..., 0] = labels[0, 0]
    if name == "negative_sampling_loss" or case.chance(0.1):
        return sampled, None
    counts = (
        case.rng.uniform(0.05, 2, part.shape).astype(np.float32) for part in (labels, sampled)
    )
    return sampled, tuple(counts)


def _factors(
    problem: Problem, reduction: str, weight: np.ndarray | None, upstream: np.ndarray
) -> np.ndarray:
    """The gradient of what comes out by the loss of each example."""
    batch = len(problem.labels)
    factors = np.ones(batch) if weight is None else weight.astype(np.float64).reshape(batch)
    if reduction == "mean":
        counted = np.ones(batch, bool)
        if problem.ignore_label is not None:
            counted = (problem.labels != problem.ignore_label).any(axis=1)
        total = factors[counted].sum()
        factors = factors / total if total else np.zeros(batch)
    return factors * upstream.reshape(-1)


# ---- The library ---------------------------------------------------------------------------------


def _by_the_library(case: Case, call: Call) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    arguments = dict(call.arguments, reduction=call.reduction)
    if call.sample_weight is not None:
        arguments["sample_weight"] = call.sample_weight
    given = {name: _Given(case, name, table, call.dtype) for name, table in call.tables.items()}
    for name, table in given.items():
        arguments["inputs" if name == "activations" else name] = table.argument
    if "biases" not in given and call.name != "negative_sampling_loss":
        arguments["biases"] = None
    loss = getattr(fastw2v, call.name.split()[0])
    sources = [source for table in given.values() for source in table.sources]

    def run() -> tuple[tf.Tensor, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            losses = loss(**arguments)
        upstream = tf.cast(call.upstream, losses.dtype)
        return losses, tape.gradient(losses, sources, output_gradients=upstream)

    if case.chance(0.06):
        ragged = isinstance(arguments["inputs"], tf.RaggedTensor)
        run = tf.function(run, jit_compile=not ragged and case.chance(0.3))
    losses, gradients = run()
    dense = {}
    for name, table in given.items():
        pieces = [gradients.pop(0) for _ in table.sources]
        dense[name] = np.concatenate(
            [_dense(name, *pair) for pair in zip(pieces, table.sources, strict=True)]
        )
        if name == "activations":
            dense[name] = dense[name].reshape(-1, call.tables[name].shape[-1])
    return losses.numpy().astype(np.float64), dense


class _Given:
    """A table in one of the forms that the losses take."""

    def __init__(self, case: Case, name: str, table: np.ndarray, dtype: str) -> None:
        tensor = tf.cast(table, dtype)
        form = case.one_of("variable", "tensor", "shards", "tensor shards")
        if name == "activations" or form == "tensor":
            self.argument: Any = tf.identity(tensor)
            self.sources = [self.argument]
        elif form == "variable":
            self.argument = tf.Variable(tensor)
            self.sources = [self.argument]
        else:
            # As the strategy "div" cuts: the first shards are one row longer.
            pieces = np.array_split(np.arange(len(table)), case.size(min(4, len(table))))
            self.argument = [tf.gather(tensor, piece) for piece in pieces]
            if form == "shards":
                self.argument = [tf.Variable(piece) for piece in self.argument]
            self.sources = list(self.argument)


def _dense(name: str, gradient: Any, source: Any) -> np.ndarray:
    if gradient is None:
        raise Fault(f"the gradient of {name} is None")
    if not isinstance(gradient, tf.IndexedSlices):
        return np.atleast_1d(gradient.numpy().astype(np.float64))
    rows, values = gradient.indices.numpy(), gradient.values.numpy().astype(np.float64)
    if np.any(np.diff(rows) <= 0) or (rows.size and not 0 <= rows[0] <= rows[-1] < source.shape[0]):
        raise Fault(f"the rows of the gradient of {name} are not unique and ascending: {rows}")
    dense = np.zeros(source.shape)
    dense[rows] = values
    return dense


# ---- What it is compared with --------------------------------------------------------------------


def _check_against_numpy(call: Call, losses: np.ndarray, gradients: dict[str, np.ndarray]) -> None:
    unit = UNITS["float64" if call.dtype == "float64" else "float32"]
    solved = numpy_losses.solve(call.problem, unit)
    expected = _reduced(call, solved["loss"], unit)
    kept = call.dtype if call.name in TF_NN else "float32"
    _compare(call, "the loss", losses, expected, "float64" if call.dtype == "float64" else kept)
    for name, gradient in gradients.items():
        wanted = solved[{"embeddings": "hidden", "activations": "hidden"}.get(name, name)]
        if name == "embeddings":
            wanted = Bounded(
                call.bags.T @ wanted.value,
                call.bags.T @ wanted.bound
                + (len(call.bags) + 16) * unit * (call.bags.T @ np.abs(wanted.value)),
            )
        _compare(call, f"the gradient of {name}", gradient, wanted, call.dtype)


def _reduced(call: Call, losses: Bounded, unit: float) -> Bounded:
    batch = len(call.problem.labels)
    if call.reduction == "none":
        weight = 1.0 if call.sample_weight is None else call.sample_weight.reshape(batch)
        value = weight * losses.value
        bound = weight * losses.bound + 4 * unit * np.abs(value)
        return Bounded(value.reshape(call.shape), bound.reshape(call.shape))
    ones = np.ones(batch, np.float32)
    factors = _factors(call.problem, call.reduction, call.sample_weight, ones[:1])
    terms = factors * losses.value
    bound = (factors * losses.bound).sum() + (2 * batch + 16) * unit * np.abs(terms).sum()
    return Bounded(terms.sum(), bound)


def _compare(call: Call, what: str, found: np.ndarray, wanted: Bounded, kept: str) -> None:
    if found.shape != np.shape(wanted.value):
        raise Fault(f"{call.name}: {what} has shape {found.shape}, not {wanted.value.shape}")
    allowed = wanted.bound + 2 * UNITS[kept] * (np.abs(wanted.value) + wanted.bound)
    allowed = np.atleast_1d(allowed + SMALLEST[kept])
    error = np.atleast_1d(np.abs(found - wanted.value))
    # What may round above the largest number of the dtype may be infinite.
    too_large = np.atleast_1d(np.abs(wanted.value) + allowed > LARGEST[kept])
    infinite = np.atleast_1d(found == np.copysign(np.inf, wanted.value))
    if np.all((error <= allowed) | (too_large & infinite)):  # NaN is not
        return
    worst = np.unravel_index(np.argmax(np.nan_to_num(error / allowed, nan=np.inf)), error.shape)
    options = {
        name: value
        for name, value in call.arguments.items()
        if isinstance(value, (bool, int, float, str))
    }
    raise Fault(
        f"{call.name} in {call.dtype}, batch {call.problem.hidden.shape}, options {options}, "
        f"reduction {call.reduction}: at {worst} error {error[worst]:.3g} above "
        f"{allowed[worst]:.3g} of {what}"
    )


def _check_reference(call: Call) -> None:
    """The reference in float64 against NumPy: two definitions of the same."""
    arguments = {
        name: value for name, value in call.arguments.items() if not name.startswith("num")
    }
    tables = {name: tf.constant(table) for name, table in call.tables.items()}
    if call.shape != (len(call.problem.labels),):  # a single example, or several axes
        batch = len(call.problem.labels)
        arguments["labels"] = call.problem.labels
        if "activations" in tables:
            tables["activations"] = tf.reshape(tables["activations"], [batch, -1])
        else:
            arguments["inputs"] = np.reshape(arguments["inputs"], [1])
    with tf.GradientTape() as tape:
        tape.watch(list(tables.values()))
        for name, table in tables.items():
            arguments["inputs" if name == "activations" else name] = table
        if "biases" not in tables and call.name != "negative_sampling_loss":
            arguments["biases"] = None
        losses = getattr(fastw2v.reference, call.name.split()[0])(**arguments)
    gradients = tape.gradient(losses, tables, output_gradients=call.problem.upstream)
    solved = numpy_losses.solve(call.problem, UNITS["float64"])
    _compare(call, "the reference's loss", losses.numpy(), solved["loss"], "float64")
    for name in ("weights", "biases"):
        if name in tables:
            found = tf.convert_to_tensor(gradients[name]).numpy()
            _compare(call, f"the reference's gradient of {name}", found, solved[name], "float64")
