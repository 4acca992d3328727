"""What reads and changes tables: `top_k`, lookups, samplers, optimizers and `train_step`, and what
makes examples, against NumPy's float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import fastw2v
from fuzzing import losses, numpy_losses
from fuzzing.harness import Case, Fault
from fuzzing.losses import UNITS

SECONDS, MEGABYTES = 60.0, 1024.0
DTYPES = ("float32", "float32", "float64", "float16", "bfloat16")


def case(case: Case) -> None:
    trials = _top_k, _lookup, _sampler, _drawn, _optimizer, _optimizer, _train_step, _examples
    case.one_of(*trials)(case)


def _check(what: str, found: Any, wanted: np.ndarray, bound: Any) -> None:
    found = np.asarray(found).astype(np.float64)
    if found.shape != wanted.shape:
        raise Fault(f"{what} has shape {found.shape}, not {wanted.shape}")
    if not np.all(np.abs(found - wanted) <= bound):  # NaN is not
        error = np.max(np.nan_to_num(np.abs(found - wanted) / bound, nan=np.inf))
        raise Fault(f"{what}: error of {error:.3g} times the bound")


def _kept(values: np.ndarray, dtype: str) -> np.ndarray:
    return np.asarray(tf.cast(values, dtype).numpy().astype(np.float64))


# ---- Largest logits ------------------------------------------------------------------------------


def _top_k(case: Case) -> None:
    dtype = case.one_of(*DTYPES)
    classes, width, batch = case.size(2000), case.size(80), case.size(40)
    weights, inputs = (
        _kept(case.rng.normal(size=(rows, width)), dtype) for rows in (classes, batch)
    )
    if case.chance(0.3):  # ties
        weights, inputs = np.round(weights), np.round(inputs)
    biases = _kept(case.rng.normal(size=classes), dtype) if case.chance(0.5) else None
    k = case.size(min(classes, 100))
    options = {}
    if case.chance(0.3):
        options["logit_scale"] = case.one_of(0.5, -2.0)
    scale = options.get("logit_scale", 1.0)
    values, indices = fastw2v.top_k(
        tf.cast(inputs, dtype),
        tf.Variable(tf.cast(weights, dtype)),
        None if biases is None else tf.cast(biases, dtype),
        k,
        **options,
    )
    logits = scale * inputs @ weights.T + (0 if biases is None else biases)
    size = abs(scale) * np.abs(inputs) @ np.abs(weights.T) + np.abs(logits)
    bound = (width + 8) * UNITS["float64" if dtype == "float64" else "float32"] * size.max()
    _check("values of top_k", values, -np.sort(-logits, axis=1)[:, :k], bound)
    values, indices = values.numpy(), indices.numpy()
    _check("logits of top_k's classes", np.take_along_axis(logits, indices, 1), values, bound)
    for row in range(batch):
        if len(set(indices[row])) != k:
            raise Fault(f"top_k gives a class twice: {indices[row]}")
        equal = np.diff(values[row]) == 0
        if np.any(np.diff(values[row]) > 0) or np.any(np.diff(indices[row])[equal] < 0):
            raise Fault(f"top_k is not in order: {values[row]}, {indices[row]}")


# ---- Rows ----------------------------------------------------------------------------------------


def _lookup(case: Case) -> None:
    rows, width, batch = case.size(60), case.size(40), case.size(30)
    table = case.rng.normal(size=(rows, width)).astype(np.float32)
    ids, bags, combiner, _ = losses._ids(case, batch, rows)
    if isinstance(ids, np.ndarray) and ids.ndim == 2 or isinstance(ids, tf.RaggedTensor):
        layer = fastw2v.keras.Embedding(rows, width, combiner=combiner)
    else:
        layer = fastw2v.keras.Embedding(rows, width)
    ids = ids if isinstance(ids, tf.RaggedTensor) else tf.constant(ids)
    layer.build(None)
    layer.set_weights([table])
    with tf.GradientTape() as tape:
        found = layer(ids)
    upstream = case.rng.normal(size=found.shape).astype(np.float32)
    gradient = tape.gradient(found, layer.trainable_variables[0].value, tf.constant(upstream))
    bound = (bags.shape[1] + 8) * UNITS["float32"] * (np.abs(bags) @ np.abs(table))
    found = tf.reshape(found, [-1, width])
    _check("rows of a lookup", found, bags @ table, bound + 1e-37)
    upstream = upstream.reshape(-1, width)
    size = np.abs(bags.T) @ np.abs(upstream)
    bound = (len(bags) + 8) * UNITS["float32"] * size + 1e-37
    gradient = losses._dense("a lookup", gradient, table)
    _check("the gradient of a lookup", gradient, bags.T @ upstream, bound)


# ---- Samplers ------------------------------------------------------------------------------------


def _sampler(case: Case) -> None:
    classes, unique = case.size(300), case.chance(0.5)
    ranks = np.arange(classes, dtype=np.float64)
    kind = case.one_of("Uniform", "LogUniform", "Unigram")
    if kind == "Unigram":
        counts = case.rng.integers(0, 50, classes)
        counts[case.rng.integers(classes)] += 1
        power = case.one_of(0.0, 0.5, 0.75, 1.0)
        weights = np.where(counts > 0, counts.astype(np.float64) ** power, 0)
        sampler = fastw2v.samplers.Unigram(counts, power, unique=unique)
    else:
        sampler = getattr(fastw2v.samplers, kind)(classes, unique=unique)
        weights = np.log((ranks + 2) / (ranks + 1)) if kind == "LogUniform" else np.ones(classes)
    likely = weights / weights.sum()
    possible = np.count_nonzero(likely)
    # The last of the classes may take very many draws.
    num_sampled = case.size(max(1, possible // 2) if unique else 500)
    labels = case.rng.integers(0, classes, (case.size(8), case.size(3)))
    seed = tuple(int(part) for part in case.rng.integers(-(2**31), 2**31, 2))
    own = case.chance(0.4)
    values = sampler.sample(labels, num_sampled, seed=seed, per_example=own)
    candidates, true, drawn = (part.numpy() for part in values)
    again = sampler.sample(labels, num_sampled, seed=seed, per_example=own)
    if any(np.any(part != other) for part, other in zip(values, again, strict=True)):
        raise Fault(f"{sampler}: the same seed, another draw")
    if own:
        whole = sampler.sample(labels, num_sampled, seed=seed).sampled_candidates
        if np.any(candidates[0] != whole):
            raise Fault(f"{sampler}: the first list is not that of the whole batch")
    lists = candidates.reshape(-1, num_sampled)
    if lists.min() < 0 or lists.max() >= classes or np.any(likely[lists] == 0):
        raise Fault(f"{sampler} drew a class that it cannot draw: {lists}")
    if unique and any(len(set(row)) != num_sampled for row in lists.tolist()):
        raise Fault(f"{sampler} drew a class twice: {lists}")
    for row in range(len(lists)):
        met = np.concatenate([(labels[row] if own else labels).ravel(), lists[row]])
        expected = np.concatenate(
            [(true[row] if own else true).ravel(), drawn.reshape(-1, num_sampled)[row]]
        )
        if not _is_expected(expected, likely[met], num_sampled, unique):
            raise Fault(f"{sampler}, {num_sampled} drawn: expected counts {expected} of {met}")
    if not unique:
        _check_frequencies(sampler, likely, seed)


def _is_expected(counts: np.ndarray, likely: np.ndarray, num_sampled: int, unique: bool) -> bool:
    if np.allclose(counts, likely * num_sampled, rtol=1e-5, atol=1e-9):
        return True
    sure = (likely > 0) & (likely < 1) & (counts < 0.999)
    if not unique:
        return False
    if not sure.any():
        return bool(np.all((counts >= 0) & (counts <= 1)))
    at = np.argmax(np.where(sure, likely, 0))
    tries = np.log1p(-np.float64(counts[at])) / np.log1p(-likely[at])
    with np.errstate(divide="ignore"):
        wanted = -np.expm1(tries * np.log1p(-likely))
    near = np.allclose(counts, wanted, rtol=1e-3, atol=1e-6)
    return near and tries > num_sampled * (1 - 1e-3) - 1


def _check_frequencies(sampler: Any, likely: np.ndarray, seed: tuple[int, int]) -> None:
    draws = 20_000
    met = sampler.sample([[0]], draws, seed=seed).sampled_candidates.numpy()
    counts = np.bincount(met, minlength=len(likely))
    off = np.abs(counts - draws * likely)
    if np.any(off > 7 * np.sqrt(draws * likely) + 12):  # seven standard deviations
        raise Fault(f"{sampler}: {counts} of {draws} draws, expected {draws * likely}")


def _drawn(case: Case) -> None:
    """A loss that draws its classes is the loss of what its sampler draws, to the bit."""
    classes, batch, width = case.size(200, 20), case.size(20), case.size(20)
    embeddings, weights = (
        tf.constant(case.rng.normal(size=(rows, width)), tf.float32) for rows in (batch, classes)
    )
    ids, labels = np.arange(batch), case.rng.integers(0, classes, (batch, 1))
    seed, num_sampled = (case.size(1000), case.size(1000)), case.size(10)
    sampler = case.one_of(fastw2v.samplers.Uniform, fastw2v.samplers.LogUniform)(classes)
    values = sampler.sample(labels, num_sampled, seed=seed)
    arguments = embeddings, weights, None, ids, labels
    drawn = fastw2v.softmax_loss(*arguments, num_sampled=num_sampled, sampler=sampler, seed=seed)
    given = fastw2v.softmax_loss(*arguments, sampled_values=values)
    _check("a loss of drawn classes", drawn, given.numpy().astype(np.float64), 0)


# ---- Examples ------------------------------------------------------------------------------------


def _examples(case: Case) -> None:
    """Pairs and bags of a text: all within a window, or within a radius drawn for each center."""
    ids = (
        case.rng.integers(-1, 20, case.size(120)) if case.chance(0.7) else np.arange(case.size(30))
    )
    window, shrink = case.size(12), case.chance(0.5)
    options = {"shrink_windows": shrink, "seed": (case.size(99), case.size(99))}
    centers, contexts = (part.numpy() for part in fastw2v.data.skipgrams(ids, window, **options))
    bags, labels = (part.numpy() for part in fastw2v.data.cbow(ids, window, **options))
    at = bag = 0
    for place in np.flatnonzero(ids >= 0):
        found = contexts[at:]
        for radius in range(1, window + 1) if shrink else [window]:
            near = _context(ids, place, radius)
            wanted = bags[bag][bags[bag] >= 0] if near.size and bag < len(bags) else near
            if np.array_equal(near, wanted) and np.array_equal(near, found[: near.size]):
                break
        else:
            raise Fault(f"no radius up to {window} explains the contexts of word {place} of {ids}")
        if np.any(centers[at : at + near.size] != ids[place]):
            raise Fault(f"the centers of word {place} of {ids} are {centers[at : at + near.size]}")
        at += near.size
        if near.size:
            if labels[bag] != ids[place]:
                raise Fault(f"the label of bag {bag} of {ids} is {labels[bag]}")
            bag += 1
    if at != len(contexts) or bag != len(labels):
        raise Fault(f"{len(contexts)} pairs and {len(labels)} bags of {ids}: {at}, {bag} expected")


def _context(ids: np.ndarray, place: int, radius: int) -> np.ndarray:
    """The words up to ``radius`` away in the same sentence, which negative ids end."""
    before, after = ids[:place][::-1][:radius], ids[place + 1 :][:radius]
    sides = [side[: np.argmax(side < 0)] if np.any(side < 0) else side for side in (before, after)]
    return np.concatenate([sides[0][::-1], sides[1]])


# ---- Optimizers ----------------------------------------------------------------------------------


def _optimizer(case: Case) -> None:
    """Some steps on slices with repeated rows; the gradient of a row is the sum of its slices."""
    rows, width, steps = case.size(20), case.size(40), case.size(6)
    rate = float(np.float32(case.one_of(0.01, 0.1, 1.0)))
    table = case.rng.normal(size=(rows, width)).astype(np.float32)
    optimizer, step = case.one_of(_sgd, _momentum, _adagrad, _rowwise, _adam)(case, rate, table)
    variable = tf.Variable(table)
    wanted = table.astype(np.float64)
    optimizer.build([variable])
    for number in range(1, steps + 1):
        ids = case.rng.integers(0, rows, case.size(30))
        values = case.rng.normal(size=(len(ids), width)).astype(np.float32)
        slices = tf.IndexedSlices(tf.constant(values), tf.constant(ids), table.shape)
        optimizer.apply_gradients([(slices, variable)])
        summed = np.zeros(wanted.shape)
        np.add.at(summed, ids, values.astype(np.float64))
        met = np.unique(ids)
        wanted[met] -= step(met, summed[met], number)
    # Sums that cancel to almost nothing make Adam's direction uncertain; the rate bounds the step.
    bound = 1e-4 * rate * steps + 1e-5 * (1 + np.abs(wanted))
    _check(f"rows after {steps} steps of {optimizer.name}", variable, wanted, bound)


Rule = tuple[Any, Callable[[np.ndarray, np.ndarray, int], np.ndarray]]


def _sgd(case: Case, rate: float, table: np.ndarray) -> Rule:
    return fastw2v.optimizers.SGD(rate), lambda met, g, number: rate * g


def _momentum(case: Case, rate: float, table: np.ndarray) -> Rule:
    momentum, nesterov = case.one_of(0.5, 0.9), case.chance(0.5)
    slot = np.zeros(table.shape)

    def step(met: np.ndarray, g: np.ndarray, number: int) -> np.ndarray:
        slot[met] = momentum * slot[met] - rate * g
        return rate * g - momentum * slot[met] if nesterov else -slot[met]

    optimizer = fastw2v.optimizers.SGD(rate, momentum=momentum, nesterov=nesterov, lazy=True)
    return optimizer, step


def _adagrad(case: Case, rate: float, table: np.ndarray) -> Rule:
    slot = np.full(table.shape, 0.1)

    def step(met: np.ndarray, g: np.ndarray, number: int) -> np.ndarray:
        slot[met] += g**2
        return rate * g / np.sqrt(slot[met] + 1e-7)

    return fastw2v.optimizers.Adagrad(rate, initial_accumulator_value=0.1, epsilon=1e-7), step


def _rowwise(case: Case, rate: float, table: np.ndarray) -> Rule:
    slot = np.full(len(table), 0.1)

    def step(met: np.ndarray, g: np.ndarray, number: int) -> np.ndarray:
        slot[met] += np.mean(g**2, axis=1)
        return rate * g / np.sqrt(slot[met] + 1e-7)[:, np.newaxis]

    return (
        fastw2v.optimizers.RowwiseAdagrad(rate, initial_accumulator_value=0.1, epsilon=1e-7),
        step,
    )


def _adam(case: Case, rate: float, table: np.ndarray) -> Rule:
    beta_1, beta_2, amsgrad = case.one_of(0.5, 0.9), case.one_of(0.9, 0.999), case.chance(0.3)
    m, v, largest = (np.zeros(table.shape) for _ in range(3))

    def step(met: np.ndarray, g: np.ndarray, number: int) -> np.ndarray:
        m[met] += (1 - beta_1) * (g - m[met])
        v[met] += (1 - beta_2) * (g**2 - v[met])
        largest[met] = np.maximum(largest[met], v[met])
        root = np.sqrt((largest if amsgrad else v)[met])
        return rate * np.sqrt(1 - beta_2**number) / (1 - beta_1**number) * m[met] / (root + 1e-3)

    optimizer = fastw2v.optimizers.Adam(
        rate, beta_1=beta_1, beta_2=beta_2, epsilon=1e-3, amsgrad=amsgrad, lazy=True
    )
    return optimizer, step


# ---- Training steps ------------------------------------------------------------------------------


def _train_step(case: Case) -> None:
    """Of SGD: what a table loses is the rate times its gradient."""
    while (call := losses.draw(case)).reduction == "none" or call.problem.bfloat16:
        pass
    call.upstream = np.ones([])
    factors = losses._factors(call.problem, call.reduction, call.sample_weight, call.upstream)
    call.problem = numpy_losses.Problem(**{**vars(call.problem), "upstream": factors})
    rate = 0.125
    arguments = dict(call.arguments, reduction=call.reduction)
    if call.sample_weight is not None:
        arguments["sample_weight"] = call.sample_weight
    if call.name != "negative_sampling_loss":
        arguments["biases"] = None
    variables = {}
    for name, table in call.tables.items():
        tensor = tf.cast(table, call.dtype)
        if name == "activations":
            arguments["inputs"] = tensor
        else:
            arguments[name] = variables[name] = tf.Variable(tensor)
    fastw2v.train_step(
        fastw2v.optimizers.SGD(rate), getattr(fastw2v, call.name.split()[0]), **arguments
    )
    unit = UNITS["float64" if call.dtype == "float64" else "float32"]
    solved = numpy_losses.solve(call.problem, unit)
    for name, variable in variables.items():
        gradient = solved["hidden" if name == "embeddings" else name]
        value, bound = gradient.value, gradient.bound
        if name == "embeddings":
            bound = call.bags.T @ (bound + (len(call.bags) + 16) * unit * np.abs(value))
            value = call.bags.T @ value
        wanted = call.tables[name] - rate * value
        kept = UNITS[call.dtype]
        bound = rate * (bound + 4 * kept * np.abs(value)) + 4 * kept * np.abs(wanted)
        _check(
            f"{name} in {call.dtype} after a step of {call.name}",
            tf.cast(variable, tf.float64),
            wanted,
            bound + losses.SMALLEST[call.dtype],
        )
