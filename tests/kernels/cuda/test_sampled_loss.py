"""The sampled losses of a GPU against their definition in float64, as in test_exact_loss.py."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from kernels.cuda.rows import dense_rows, num_met
from kernels.definition import LossGradients, define_loss
from kernels.problems import DTYPES, FORMS, accumulator_type, loss_problem, table_type
from kernels.test_loss import IGNORED, OPTIONS, TOLERANCE, largest_error, named, takes

SAMPLED = [form for form in FORMS if form != "exact"]
CASES = [
    (form, name) for form in SAMPLED for name, options in OPTIONS.items() if takes(form, options)
]

# What the rounding of the gradients of logits adds to the error of gradients.
ROUNDING = {"float32": 0, "float64": 0, "float16": 2**-10, "bfloat16": 2**-8}


@dataclass(frozen=True)
class Computed:
    """What the device computed; gradients of tables are dense."""

    loss: np.ndarray
    gradients: LossGradients
    rows: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {"loss": self.loss} | vars(self.gradients)


def sampled_problem(form, **arguments):
    """A random problem whose hidden rows are numbers of the table's type."""
    problem, d_loss = loss_problem(form, **arguments)
    table = table_type(arguments.get("dtype", "float32"))
    hidden = problem.hidden.astype(table).astype(problem.hidden.dtype)
    return replace(problem, hidden=hidden), d_loss


def compute(
    cuda,
    device,
    problem,
    d_loss,
    dtype,
    *,
    one_call=False,
    ids=None,
    wants_hidden=True,
    **arguments,
):
    """Losses and gradients by the device, in two calls or in one."""
    put, table, sums = device.to_device, table_type(dtype), accumulator_type(dtype)
    loss = getattr(cuda, f"SampledLoss_{dtype}")(
        put(problem.hidden.astype(table)),
        put(problem.weights),
        None if problem.biases is None else put(problem.biases),
        put(problem.labels),
        ids=None if ids is None else put(ids),
        sampled=put(problem.sampled),
        counts=None if problem.counts is None else tuple(map(put, problem.counts)),
        **problem.options,
        **arguments,
    )
    batch, (classes, dim) = len(problem.labels), problem.weights.shape
    capacity = loss.row_capacity()
    results = [device.empty(batch, sums) for _ in range(3)]
    d_hidden = device.empty((batch, dim), sums) if wants_hidden else None
    rows = device.empty(capacity, np.int64)
    d_weights, d_biases = device.empty((capacity, dim), table), device.empty(capacity, table)
    gradients = (d_hidden, rows, d_weights, d_biases)
    if one_call:
        scratch = device.scratch(loss.scratch_bytes())
        loss.forward_backward(put(d_loss), *results, *gradients, scratch)
    else:
        loss.forward(*results, device.scratch(loss.scratch_bytes()))
        scratch = device.scratch(loss.scratch_bytes())
        loss.backward(put(d_loss), *results[1:], *gradients, scratch)
    host = device.to_host
    dense = (dense_rows(host(rows), host(values), classes) for values in (d_weights, d_biases))
    d_hidden = host(d_hidden) if wants_hidden else None
    return Computed(host(results[0]), LossGradients(d_hidden, *dense), host(rows))


def check(cuda, device, problem, d_loss, dtype, tolerance=None, **arguments):
    """Compares with definition and plain NumPy; returns what the device computed."""
    computed = compute(cuda, device, problem, d_loss, dtype, **arguments)
    truth = named(*define_loss(problem, d_loss))
    plain = named(*define_loss(problem, d_loss, accumulator_type(dtype)))
    for name, values in computed.arrays().items():
        assert values.shape == truth[name].shape, name
        expected = plain[name].astype(values.dtype)  # a table's gradient is rounded to its type
        allowed = largest_error(expected, truth[name]) + (tolerance or TOLERANCE[dtype])
        if name != "loss":
            allowed += ROUNDING[dtype]
        assert largest_error(values, truth[name]) <= allowed, name
    return computed


@pytest.mark.parametrize(("form", "options"), CASES)
def test_every_option_equals_the_definition(cuda, device, form, options):
    arguments = {"batch": 11, "dim": 20, "num_sampled": 30} | OPTIONS[options]
    problem, d_loss = sampled_problem(form, **arguments)
    check(cuda, device, problem, d_loss, "float32")


@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", SAMPLED)
def test_every_type_equals_the_definition(cuda, device, form, dtype, one_call):
    options = dict(OPTIONS["sampled, all at once"])
    if FORMS[form][1] == "softmax":
        options["z_loss"] = 0.003
    problem, d_loss = sampled_problem(form, dtype=dtype, batch=14, dim=18, **options)
    check(cuda, device, problem, d_loss, dtype, one_call=one_call)


@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
@pytest.mark.parametrize("form", SAMPLED)
def test_the_gradient_of_hidden_rows_may_be_left_out(cuda, device, form, one_call):
    problem, d_loss = sampled_problem(form, batch=70, dim=20, num_sampled=30)
    wanted, alone = (
        compute(cuda, device, problem, d_loss, "float32", one_call=one_call, wants_hidden=wants)
        for wants in (True, False)
    )
    np.testing.assert_array_equal(alone.gradients.d_weights, wanted.gradients.d_weights)
    np.testing.assert_array_equal(alone.gradients.d_biases, wanted.gradients.d_biases)
    np.testing.assert_array_equal(alone.loss, wanted.loss)


# (batch, num_sampled, dim) and why: tiles of 64 examples and classes, up to 512 columns at a time,
# pieces of 16 of them.
SIZES = {
    "one of all": (1, 1, 1),
    "no width": (3, 2, 0),
    "a tile": (64, 64, 16),
    "above a tile, odd width": (65, 66, 17),
    "parts of the classes": (5, 260, 4),
    "parts of the examples": (260, 5, 4),
    "rows of 600 bytes": (6, 10, 300),
    "columns in two chunks": (4, 5, 530),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_the_definition(cuda, device, size, dtype):
    batch, num_sampled, dim = SIZES[size]
    problem, d_loss = sampled_problem(
        "shared",
        dtype=dtype,
        batch=batch,
        num_sampled=num_sampled,
        dim=dim,
        remove_accidental_hits=True,
    )
    check(cuda, device, problem, d_loss, dtype, one_call=True)


# About 32 and its square: hits are searched for by 32 lanes at a time.
@pytest.mark.parametrize("num_sampled", [31, 32, 33, 64, 65, 1023, 1024, 1025, 2100])
def test_hits_in_long_lists(cuda, device, num_sampled):
    problem, d_loss = sampled_problem(
        "shared",
        batch=60,
        classes=3000,
        num_sampled=num_sampled,
        dim=2,
        remove_accidental_hits=True,
    )
    rng = np.random.default_rng(num_sampled)
    classes = len(problem.weights)
    # Labels below, above and between all classes of the list, and in it once and several times.
    sampled = rng.integers(classes // 4, 3 * classes // 4, size=num_sampled)
    labels = np.where(rng.random(60) < 0.5, rng.choice(sampled, 60), rng.integers(classes, size=60))
    labels[:2] = 0, classes - 1
    problem = replace(problem, sampled=sampled, labels=labels[:, np.newaxis])
    check(cuda, device, problem, d_loss, "float32")


@pytest.mark.parametrize("form", ["per_example", "per_example_logistic"])
@pytest.mark.parametrize("dim", [1, 3, 129, 513, 516])
def test_lists_of_examples_of_every_width(cuda, device, form, dim):
    problem, d_loss = sampled_problem(form, batch=5, num_sampled=4, dim=dim)
    check(cuda, device, problem, d_loss, "float32", one_call=True)


@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_hidden_rows_by_ids(cuda, device, form):
    problem, d_loss = sampled_problem(form, batch=9, dim=12)
    rng = np.random.default_rng(3)
    table = np.concatenate([problem.hidden, problem.hidden + 1])
    ids = rng.permutation(len(table))[:9]
    by_ids = compute(cuda, device, replace(problem, hidden=table), d_loss, "float32", ids=ids)
    picked = compute(cuda, device, replace(problem, hidden=table[ids]), d_loss, "float32")
    for name, values in by_ids.arrays().items():
        np.testing.assert_array_equal(values, picked.arrays()[name])


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_products_in_bfloat16(cuda, device, form, dtype):
    problem, d_loss = sampled_problem(
        form, dtype=dtype, batch=12, compute_dtype="bfloat16", logit_scale=1.3
    )
    computed = compute(cuda, device, problem, d_loss, dtype)
    loss, gradients = define_loss(problem, d_loss)
    assert largest_error(computed.loss, loss) <= 1e-5
    for name, truth in vars(gradients).items():
        assert largest_error(vars(computed.gradients)[name], truth) <= 2**-7, name


def test_tf32_is_close(cuda, device):
    problem, d_loss = sampled_problem("shared", batch=12)
    check(cuda, device, problem, d_loss, "float32", tolerance=2e-3, allow_tf32=True)


@pytest.mark.parametrize("form", SAMPLED)
def test_large_logits_with_a_common_offset(cuda, device, form):
    problem, d_loss = sampled_problem(form, batch=9)
    problem = replace(problem, biases=problem.biases + np.float32(1e4))
    check(cuda, device, problem, d_loss, "float32")


def test_only_met_rows_are_returned(cuda, device):
    problem, d_loss = sampled_problem("shared", classes=1000)
    computed = compute(cuda, device, problem, d_loss, "float32")
    assert num_met(computed.rows) == len(np.union1d(problem.labels, problem.sampled))


OUT_OF_RANGE = [-1, 50, -(1 << 40), 1 << 40]


@pytest.mark.parametrize("value", OUT_OF_RANGE)
@pytest.mark.parametrize("form", SAMPLED)
@pytest.mark.parametrize("what", ["label", "id", "sampled"])
def test_what_is_out_of_range_gives_nan_and_no_gradient(cuda, device, what, form, value):
    problem, d_loss = sampled_problem(form, batch=7, dim=8, remove_accidental_hits=True)
    bad = np.arange(7) == 3
    ids = np.arange(7)
    if what == "label":
        problem.labels[3] = value
    elif what == "id":
        ids[3] = value
    elif problem.sampled.ndim == 2:
        problem.sampled[3, 2] = value
    else:
        problem.sampled[2] = value
        bad[:] = True
    for one_call in (False, True):
        computed = compute(cuda, device, problem, d_loss, "float32", ids=ids, one_call=one_call)
        np.testing.assert_array_equal(np.isnan(computed.loss), bad)
        # The others are as they would be without it.
        without = replace(
            problem,
            labels=np.where(bad[:, np.newaxis], IGNORED, problem.labels),
            sampled=np.clip(problem.sampled, 0, 49),
            options=problem.options | {"ignore_label": IGNORED},
        )
        loss, gradients = define_loss(without, d_loss)
        np.testing.assert_allclose(computed.loss[~bad], loss[~bad], rtol=1e-5)
        for name, truth in vars(gradients).items():
            np.testing.assert_allclose(
                vars(computed.gradients)[name], truth, rtol=1e-4, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("form", SAMPLED)
def test_nothing_in_nothing_out(cuda, device, form):
    problem, d_loss = sampled_problem(form, batch=0)
    for one_call in (False, True):
        computed = compute(cuda, device, problem, d_loss, "float32", one_call=one_call)
        assert computed.loss.shape == (0,)
        assert not computed.gradients.d_weights.any()


@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_same_bits_on_every_run(cuda, device, form):
    problem, d_loss = sampled_problem(form, dtype="bfloat16")
    first, second = (
        compute(cuda, device, problem, d_loss, "bfloat16", one_call=True) for _ in range(2)
    )
    for name, values in first.arrays().items():
        assert values.tobytes() == second.arrays()[name].tobytes(), name
