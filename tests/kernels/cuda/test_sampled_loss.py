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


# (batch, num_sampled, dim) and why: logits lie in rows of whole 128, a warp sums 256 of them at a
# time and at least 1024, gradients of biases are sums over 32 examples, rows of operands are padded
# to 16 bytes.
SIZES = {
    "one of all": (1, 1, 1),
    "no width": (3, 2, 0),
    "whole rows of logits": (32, 128, 16),
    "above them, odd width": (33, 129, 17),
    "two steps of a warp": (5, 260, 4),
    "two runs of sums": (3, 1100, 4),
    "many examples": (260, 5, 4),
    "rows of 600 bytes": (6, 10, 300),
    "wide rows": (4, 5, 530),
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


@pytest.fixture
def blocks_of_32_examples(cuda):
    """The fewest that a block can have where rows have at most 32 columns."""
    cuda.set_logit_bytes(1)
    yield
    cuda.set_logit_bytes(0)


@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["shared", "shared_logistic"])
def test_several_blocks_of_examples(cuda, device, blocks_of_32_examples, form, dtype, one_call):
    options = OPTIONS["sampled, all at once"]
    problem, d_loss = sampled_problem(form, dtype=dtype, **options | {"batch": 75, "dim": 18})
    check(cuda, device, problem, d_loss, dtype, one_call=one_call)


def test_blocks_give_what_all_examples_give_together(cuda, device, blocks_of_32_examples):
    """A block has at least as many examples as rows have columns, here 64 and the other 6."""
    problem, d_loss = sampled_problem("shared", batch=70, dim=40, num_sampled=200)
    in_blocks = compute(cuda, device, problem, d_loss, "float32", one_call=True).arrays()
    cuda.set_logit_bytes(0)
    together = compute(cuda, device, problem, d_loss, "float32", one_call=True).arrays()
    for name, values in together.items():
        scale = np.max(np.abs(values))
        np.testing.assert_allclose(in_blocks[name], values, rtol=0, atol=1e-6 * scale)


def test_scratch_memory_is_bounded(cuda, device):
    """By the bytes of a block, and numbers and rows of each example and class."""
    most = 1 << 20
    cuda.set_logit_bytes(most)
    try:
        problem, _ = sampled_problem("shared", batch=4000, num_sampled=2000, dim=20)
        put = device.to_device
        loss = cuda.SampledLoss_float32(
            *map(put, (problem.hidden, problem.weights, problem.biases, problem.labels)),
            sampled=put(problem.sampled),
        )
        assert loss.scratch_bytes() < most + (4000 + 2000) * (2 * 20 * 4 + 200)
    finally:
        cuda.set_logit_bytes(0)


@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
@pytest.mark.parametrize("form", ["shared", "shared_logistic"])
def test_small_gradients_of_float16_do_not_vanish(
    cuda, device, blocks_of_32_examples, form, one_call
):
    """A mean over many examples: gradients of logits lie below the smallest number of float16.

    Where both passes are one call, each block of examples has a unit of its own.
    """
    problem, d_loss = sampled_problem(form, dtype="float16", batch=70, num_sampled=300, dim=24)
    d_loss = (np.abs(d_loss) + 1) * np.repeat([2.0**-40, 2.0**-30, 2.0**-35], [32, 32, 6])
    d_loss = d_loss.astype(np.float32)
    computed = compute(cuda, device, problem, d_loss, "float16", one_call=one_call).gradients
    truth = named(*define_loss(problem, d_loss))["d_hidden"]
    blocks = np.split(np.arange(70), [32, 64]) if one_call else [np.arange(70)]
    for block in blocks:
        largest = np.max(np.abs(truth[block]))
        error = np.max(np.abs(computed.d_hidden[block].astype(np.float64) - truth[block]))
        assert error <= 2**-9 * largest


@pytest.mark.parametrize("form", SAMPLED)
def test_nothing_in_nothing_out(cuda, device, form):
    problem, d_loss = sampled_problem(form, batch=0)
    for one_call in (False, True):
        computed = compute(cuda, device, problem, d_loss, "float32", one_call=one_call)
        assert computed.loss.shape == (0,)
        assert not computed.gradients.d_weights.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", ["shared", "per_example"])
def test_same_bits_on_every_run(cuda, device, blocks_of_32_examples, form, dtype, monkeypatch):
    problem, d_loss = sampled_problem(form, dtype=dtype, batch=40, dim=20)
    first = compute(cuda, device, problem, d_loss, dtype, one_call=True).arrays()
    for order in ("reverse", "3"):
        if device.emulated:
            monkeypatch.setenv("FASTW2V_EMULATED_ORDER", order)
        again = compute(cuda, device, problem, d_loss, dtype, one_call=True).arrays()
        for name, values in first.items():
            assert values.tobytes() == again[name].tobytes(), name
