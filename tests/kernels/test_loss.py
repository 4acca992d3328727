"""The losses of the core against their definition in float64.

The comparison has three sides: an error against float64 may be as large as that of a plain NumPy
implementation in the type in which the core accumulates, plus a few units of rounding.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from kernels.definition import LossProblem, define_loss, round_bfloat16
from kernels.problems import (
    DTYPES,
    FORMS,
    accumulator_type,
    compute_loss,
    loss_problem,
    make_loss,
    table_type,
)

IGNORED = -100

# What is added to the errors of plain NumPy, relative to the largest entry of an array.
TOLERANCE = {"float32": 2e-6, "float16": 2e-6, "bfloat16": 2e-6, "float64": 1e-14}

# Options with which every form is tried, where it has them.
OPTIONS = {
    "plain": {},
    "no biases": {"biases": False},
    "logit_scale": {"logit_scale": 2.5},
    "negative logit_scale": {"logit_scale": -0.7},
    "logit_softcap": {"logit_softcap": 1.5},
    "label_smoothing": {"label_smoothing": 0.1},
    "label_smoothing of several labels": {"label_smoothing": 0.3, "num_true": 3},
    "margin": {"margin": 0.7},
    "margin of several labels, one twice": {
        "margin": 2.5,
        "num_true": 4,
        "classes": 5,
        "label_smoothing": 0.3,
    },
    "margin past the soft cap": {"margin": 0.7, "logit_softcap": 1.5},
    "z_loss": {"z_loss": 0.01},
    "positive_target": {"positive_target": 0.3},
    "positive_target 1 / num_true": {"positive_target": 0.25, "num_true": 4},
    "several labels": {"num_true": 3},
    "some labels ignored": {"num_true": 3, "ignore_label": IGNORED, "ignored": 0.5},
    "a class is the ignored label": {"num_true": 3, "ignore_label": 7, "ignored": 0.5},
    "all labels ignored": {"num_true": 2, "ignore_label": IGNORED, "ignored": 1},
    "few classes repeat labels and hits": {"num_true": 4, "classes": 5},
    "hits removed": {"remove_accidental_hits": True, "num_sampled": 150},
    "hits of several labels removed": {
        "remove_accidental_hits": True,
        "num_sampled": 150,
        "num_true": 3,
        "ignore_label": 7,
        "ignored": 0.3,
    },
    "counts": {"counts": True},
    "softmax, all at once": {
        "logit_scale": 1.7,
        "logit_softcap": 3.0,
        "label_smoothing": 0.2,
        "margin": 0.4,
        "z_loss": 0.003,
        "num_true": 2,
        "ignore_label": IGNORED,
        "ignored": 0.3,
    },
    "sampled, all at once": {
        "logit_scale": 1.7,
        "logit_softcap": 3.0,
        "counts": True,
        "remove_accidental_hits": True,
        "num_true": 2,
        "ignore_label": IGNORED,
        "ignored": 0.3,
    },
}


def takes(form, options):
    candidates, link = FORMS[form]
    if candidates == "exact":
        return not {"counts", "remove_accidental_hits", "positive_target"} & options.keys()
    if {"label_smoothing", "margin"} & options.keys():
        return False
    return "z_loss" not in options if link == "logistic" else "positive_target" not in options


CASES = [
    (form, name) for form in FORMS for name, options in OPTIONS.items() if takes(form, options)
]


def named(value, gradients):
    return {"loss": value} | vars(gradients)


def largest_error(values, truth):
    """Relative to the largest entry of `truth`, or to 0.1: losses are differences of logits."""
    if truth.size == 0:
        return 0.0
    return np.max(np.abs(values.astype(np.float64) - truth)) / max(np.max(np.abs(truth)), 0.1)


@pytest.fixture(params=["two calls", "one call"])
def compute(request):
    """compute_loss() by forward and backward, and with both in one call."""
    return functools.partial(compute_loss, one_call=request.param == "one call")


def check(kernels, compute, problem, d_loss, dtype, tolerance=None):
    """Compares with definition and plain NumPy; returns what the core computed."""
    computed = compute(kernels, problem, d_loss, dtype)
    truth = named(*define_loss(problem, d_loss))
    plain = named(*define_loss(problem, d_loss, accumulator_type(dtype)))
    for name, values in computed.arrays().items():
        assert values.shape == truth[name].shape, name
        expected = plain[name].astype(values.dtype)  # a table's gradient is rounded to its type
        allowed = largest_error(expected, truth[name]) + (tolerance or TOLERANCE[dtype])
        assert largest_error(values, truth[name]) <= allowed, name
    return computed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("form", "options"), CASES)
def test_every_option_equals_the_definition(kernels, compute, form, options, dtype):
    problem, d_loss = loss_problem(form, dtype=dtype, **OPTIONS[options])
    check(kernels, compute, problem, d_loss, dtype)


# (batch, classes, dim) and why. Weights of up to 512 KB are few classes.
SIZES = {
    "one of all": (1, 1, 1),
    "two classes": (3, 2, 1),
    "rows below a tile": (95, 20, 6),
    "a tile of rows": (96, 20, 6),
    "rows above a tile": (97, 20, 6),
    "a run of rows": (64, 20, 6),
    "rows above a run": (65, 20, 6),
    "most runs of rows": (1024, 20, 6),
    "longer runs of rows": (1025, 20, 6),
    "runs of two tiles": (1600, 20, 6),
    "classes below a tile": (5, 191, 6),
    "a tile of classes": (5, 192, 6),
    "classes above a tile": (5, 193, 6),
    "most of few classes": (70, 2048, 64),
    "more than few classes": (70, 2049, 64),
    "many classes": (97, 20_000, 7),
    "many classes of wide rows, blocks of rows": (1000, 300, 512),
    "chunks longer than a tile": (4, 50_000, 3),
    "more rows than 4-byte exponentials are kept of": (97, 60_000, 2),
    "more rows than 8-byte exponentials are kept of": (97, 50_000, 2),
    "4-byte exponentials are kept of short tiles": (65, 160_000, 2),
    "exponentials are not kept": (3, 460_000, 2),
    "groups of classes": (3, 40_000, 120),
} | {f"width {dim}": (13, 37, dim) for dim in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65)}


# The largest problems, with the types that they are for alone.
EXACT_SIZES = [
    (size, dtype)
    for size in SIZES
    for dtype in ("float32", "float64", "bfloat16")
    if "-byte" not in size or ("8-byte" in size) == (dtype == "float64")
]


@pytest.mark.parametrize(("size", "dtype"), EXACT_SIZES)
def test_exact_of_every_size(kernels, compute, size, dtype):
    batch, classes, dim = SIZES[size]
    problem, d_loss = loss_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, num_true=2, label_smoothing=0.1
    )
    check(kernels, compute, problem, d_loss, dtype)


# More than few classes, in several tiles, and several tiles of rows.
MANY = {"batch": 200, "classes": 300, "num_sampled": 300, "dim": 512}
MANY_CASES = [
    (form, name)
    for form, name in CASES
    if form in ("exact", "shared") and "classes" not in OPTIONS[name]
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("form", "options"), MANY_CASES)
def test_every_option_of_many_classes(kernels, form, options, dtype):
    """In one call, whose forward pass makes sums for d_hidden where the options allow it."""
    problem, d_loss = loss_problem(form, dtype=dtype, **(MANY | OPTIONS[options]))
    check(kernels, functools.partial(compute_loss, one_call=True), problem, d_loss, dtype)


def test_short_tiles_of_rows(kernels):
    """In one call, and without the label smoothing of SIZES; 65 rows are two tiles."""
    problem, d_loss = loss_problem(batch=65, classes=160_000, dim=2, num_true=2)
    check(kernels, functools.partial(compute_loss, one_call=True), problem, d_loss, "float32")


@pytest.mark.parametrize("options", [{}, {"logit_softcap": 5.0}], ids=["plain", "softcap"])
@pytest.mark.parametrize("rounded", [False, True], ids=["plain", "rounded"])
def test_many_classes_on_each_instruction_set(kernels, each_instruction_set, rounded, options):
    """Errors of rounded gradients are those of test_operands_rounded_to_bfloat16; bits do not
    depend on the number of threads."""
    dtype = "bfloat16" if rounded else None
    problem, d_loss = loss_problem(**MANY, num_true=2, compute_dtype=dtype, **options)
    exact, gradients = define_loss(problem, d_loss)
    truth = named(exact, gradients)
    for name in each_instruction_set():
        once = compute_loss(kernels, problem, d_loss, "float32", 1, one_call=True).arrays()
        again = compute_loss(kernels, problem, d_loss, "float32", 3, one_call=True).arrays()
        for part, values in once.items():
            allowed = 2**-8 if rounded and part != "loss" else 2 * TOLERANCE["float32"]
            assert largest_error(values, truth[part]) < allowed, (name, part)
            assert values.tobytes() == again[part].tobytes(), (name, part)


@pytest.mark.parametrize("special", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("place", ["hidden", "weights", "biases"])
def test_nan_and_inf_among_many_classes(kernels, place, special):
    problem, d_loss = loss_problem(**MANY)
    getattr(problem, place)[5 if place == "hidden" else 270] = float(special)
    computed = compute_loss(kernels, problem, d_loss, "float32", one_call=True).arrays()
    truth = named(*define_loss(problem, d_loss))
    for name, values in computed.items():
        np.testing.assert_allclose(values, truth[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_whole_tiles_of_many_classes_are_masked(kernels):
    """The first tiles that rows meet, then all."""
    problem, d_loss = loss_problem(**MANY)
    problem.biases[:200] = -np.inf
    problem = replace(problem, labels=200 + problem.labels % 100)
    compute = functools.partial(compute_loss, one_call=True)
    computed = check(kernels, compute, problem, d_loss, "float32")
    assert not computed.gradients.d_weights[:200].any()
    problem.biases[:] = -np.inf
    nothing = compute(kernels, problem, d_loss, "float32")
    assert np.isnan(nothing.loss).all() and np.isnan(nothing.gradients.d_hidden).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("form", ["shared", "shared_logistic"])
@pytest.mark.parametrize("size", [name for name, size in SIZES.items() if np.prod(size) < 1e6])
def test_shared_samples_of_every_size(kernels, compute, size, form, dtype):
    batch, num_sampled, dim = SIZES[size]
    problem, d_loss = loss_problem(
        form,
        dtype=dtype,
        batch=batch,
        classes=30,
        dim=dim,
        num_sampled=num_sampled,
        counts=True,
        remove_accidental_hits=True,
    )
    check(kernels, compute, problem, d_loss, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("form", ["per_example", "per_example_logistic"])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65])
@pytest.mark.parametrize("batch", [1, 31, 32, 33])
def test_own_samples_of_every_size(kernels, compute, batch, dim, form, dtype):
    problem, d_loss = loss_problem(form, dtype=dtype, batch=batch, dim=dim, num_sampled=dim)
    check(kernels, compute, problem, d_loss, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_operands_rounded_to_bfloat16(kernels, each_instruction_set, compute, form, dtype):
    """Backward multiplies by rounded gradients of the logits: off by 2^-9 of every term."""
    problem, d_loss = loss_problem(
        form, dtype=dtype, batch=150, dim=33, num_true=2, logit_scale=1.3, compute_dtype="bfloat16"
    )
    exact, gradients = define_loss(problem, d_loss)
    unrounded = replace(problem, options=problem.options | {"compute_dtype": None})
    for name in each_instruction_set():
        computed = compute(kernels, problem, d_loss, dtype)
        assert largest_error(computed.loss, exact) < TOLERANCE[dtype], name
        if dtype != "bfloat16":
            assert largest_error(computed.loss, define_loss(unrounded, d_loss)[0]) > 1e-4, name
        for part, values in vars(computed.gradients).items():
            assert largest_error(values, vars(gradients)[part]) < 2**-8, (name, part)


@pytest.mark.parametrize("scale", [3.0, 1 / 0.07])
@pytest.mark.parametrize("form", FORMS)
def test_a_scale_is_no_operand(kernels, each_instruction_set, compute, form, scale):
    """Of operands that are bfloat16 numbers nothing is left to round: losses are those of float32
    products. Backward rounds the gradients of the logits as above."""
    problem, d_loss = loss_problem(form, batch=150, dim=33, logit_scale=scale)
    operands = {name: round_bfloat16(getattr(problem, name)) for name in ("hidden", "weights")}
    problem = replace(problem, **operands)
    exact, gradients = define_loss(problem, d_loss)
    rounded = replace(problem, options=problem.options | {"compute_dtype": "bfloat16"})
    for name in each_instruction_set():
        computed = compute(kernels, rounded, d_loss, "float32")
        assert largest_error(computed.loss, exact) < TOLERANCE["float32"], name
        for part, values in vars(computed.gradients).items():
            assert largest_error(values, vars(gradients)[part]) < 2**-8, (name, part)


@pytest.mark.parametrize("form", ["exact", "shared"])
@pytest.mark.parametrize("size", [name for name, size in SIZES.items() if size[1] < 2000])
def test_operands_rounded_to_bfloat16_of_every_size(kernels, compute, size, form):
    """Errors as above."""
    batch, candidates, dim = SIZES[size]
    classes = candidates if form == "exact" else 30
    problem, d_loss = loss_problem(
        form,
        batch=batch,
        classes=classes,
        dim=dim,
        num_sampled=candidates,
        compute_dtype="bfloat16",
    )
    computed = compute(kernels, problem, d_loss, "float32")
    exact, gradients = define_loss(problem, d_loss)
    assert largest_error(computed.loss, exact) < TOLERANCE["float32"]
    for part, values in vars(computed.gradients).items():
        assert largest_error(values, vars(gradients)[part]) < 2**-8, part


@pytest.mark.parametrize("rounded", [False, True], ids=["plain", "rounded"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_same_bits_for_any_number_of_threads(kernels, compute, form, dtype, rounded):
    problem, d_loss = loss_problem(
        form,
        dtype=dtype,
        batch=400,
        classes=700,
        dim=21,
        num_true=2,
        num_sampled=650 if form.startswith("shared") else 12,
        logit_softcap=5.0,
        compute_dtype="bfloat16" if rounded else None,
        remove_accidental_hits=form != "exact",
    )
    once = compute(kernels, problem, d_loss, dtype).arrays()
    for num_threads in (1, 2, 3, 8):
        again = compute(kernels, problem, d_loss, dtype, num_threads).arrays()
        for name, values in once.items():
            assert values.tobytes() == again[name].tobytes(), (name, num_threads)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_an_empty_batch(kernels, compute, form, dtype):
    problem, d_loss = loss_problem(form, dtype=dtype, batch=0)
    computed = compute(kernels, problem, d_loss, dtype)
    assert computed.loss.shape == (0,)
    assert computed.gradients.d_hidden.shape == (0, 19)
    assert not computed.gradients.d_weights.any() and not computed.gradients.d_biases.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["exact", "shared", "per_example"])
def test_a_single_candidate_has_loss_exactly_zero(kernels, compute, form, dtype):
    problem, d_loss = loss_problem(form, dtype=dtype, classes=1, remove_accidental_hits=True)
    computed = compute(kernels, problem, d_loss, dtype)
    for name, values in computed.arrays().items():
        assert not values.any(), name


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_the_distinct_ones_in_order(kernels, compute, form):
    problem, d_loss = loss_problem(form, batch=6, num_sampled=8, remove_accidental_hits=True)
    rows = compute(kernels, problem, d_loss, "float32").rows
    if form == "exact":
        expected = np.arange(50)
    else:
        expected = np.unique(np.append(problem.labels, problem.sampled))
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("form", ["shared", "shared_logistic", "per_example"])
def test_a_hit_that_was_sampled_twice(kernels, compute, form):
    """It does not compete, however often it was drawn, and competes with the other examples."""
    sampled = np.array([4, 1, 4, 2])
    if form == "per_example":
        sampled = np.tile(sampled, (3, 1))
    problem, d_loss = loss_problem(form, batch=3, classes=6)
    problem = replace(
        problem,
        labels=np.array([[4], [3], [1]]),
        sampled=sampled,
        options=problem.options | {"remove_accidental_hits": True},
    )
    computed = check(kernels, compute, problem, d_loss, "float32")
    kept = replace(problem, sampled=sampled[..., [1, 3]])
    without = compute(kernels, kept, d_loss, "float32")
    np.testing.assert_allclose(computed.loss[0], without.loss[0], rtol=1e-6)
    assert (computed.loss[1:] > without.loss[1:]).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("label", [-1, 3, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_ignored_examples_have_no_loss_and_no_gradient(kernels, compute, label, form):
    problem, d_loss = loss_problem(form, batch=80, num_true=2, ignore_label=label)
    labels = problem.labels.copy()
    labels[::3] = label
    labels[1, 0] = label
    computed = check(kernels, compute, replace(problem, labels=labels), d_loss, "float32")
    assert not computed.loss[::3].any() and not computed.gradients.d_hidden[::3].any()
    assert computed.loss[1::3].all() and computed.loss[2::3].all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_logits_of_ten_thousand(kernels, compute, form, dtype):
    """Logits are multiples of 1/16, which all types hold: only what follows them rounds."""
    problem, d_loss = loss_problem(form, dtype=dtype, batch=60, dim=8)
    hidden = 12.5 * np.sign(problem.hidden)
    weights = (100 * np.sign(problem.weights.astype(np.float32))).astype(table_type(dtype))
    biases = np.round(problem.biases.astype(np.float32) * 16) / 16
    problem = replace(
        problem, hidden=hidden, weights=weights, biases=biases.astype(table_type(dtype))
    )
    logits = hidden @ weights.astype(np.float64).T
    assert np.min(logits) == -1e4 and np.max(logits) == 1e4
    computed = check(kernels, compute, problem, d_loss, dtype)
    assert all(np.isfinite(values).all() for values in computed.arrays().values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["exact", "shared", "per_example"])
@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_a_large_offset_of_all_logits_cancels(kernels, compute, offset, form, dtype):
    """Logits are multiples of 1/16, which float32 holds beside the offset: the loss is the same."""
    problem, d_loss = loss_problem(form, dtype=dtype, batch=60, dim=7, num_true=2)
    hidden = np.round(problem.hidden * 4) / 4
    weights = np.round(problem.weights * 4) / 4
    biases = np.round(problem.biases * 16) / 16
    near = replace(problem, hidden=hidden, weights=weights, biases=biases)
    far = replace(near, biases=biases + accumulator_type(dtype)(offset))
    truth = named(*define_loss(near, d_loss))
    for name, values in compute(kernels, far, d_loss, dtype).arrays().items():
        assert largest_error(values, truth[name]) < 2 * TOLERANCE[dtype] + 1e-15, name


SPECIAL = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"logit_softcap": 2.0}], ids=["plain", "softcap"])
@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("place", ["hidden", "weights", "biases"])
@pytest.mark.parametrize("form", FORMS)
def test_nan_and_inf_spread_as_in_stored_logits(
    kernels, compute, form, place, special, options, dtype
):
    """Row 5 of `hidden`, or class 7, which no example but 3 and 4 has as label or own sample."""
    problem, d_loss = loss_problem(form, dtype=dtype, batch=80, classes=300, **options)
    labels = np.where(problem.labels == 7, 8, problem.labels)
    labels[3] = 7
    sampled = problem.sampled
    if sampled is not None:
        sampled = np.where(sampled == 7, 8, sampled)
        if sampled.ndim == 2:
            sampled[4, :2] = 7
    clean = replace(problem, labels=labels, sampled=sampled)
    poisoned = replace(clean, **{place: getattr(clean, place).copy()})
    getattr(poisoned, place)[5 if place == "hidden" else 7] = SPECIAL[special]

    before = compute(kernels, clean, d_loss, dtype)
    computed = compute(kernels, poisoned, d_loss, dtype)
    truth = named(*define_loss(poisoned, d_loss))
    for name, values in computed.arrays().items():
        finite = np.isfinite(truth[name])
        np.testing.assert_array_equal(np.isnan(values), np.isnan(truth[name]), name)
        np.testing.assert_array_equal(values[~finite].astype(np.float64), truth[name][~finite])
        error = largest_error(values[finite], truth[name][finite])
        assert error < (0.005 if values.itemsize == 2 else 1e-5), name

    if place == "hidden":
        others = np.arange(80) != 5
    elif form == "exact":
        others = np.zeros(80, bool)
    else:
        others = ~np.isin(np.arange(80), [3, 4])
    np.testing.assert_array_equal(computed.loss[others], before.loss[others])
    np.testing.assert_array_equal(
        computed.gradients.d_hidden[others], before.gradients.d_hidden[others]
    )


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("form", ["shared", "shared_logistic"])
def test_nan_and_inf_in_a_class_that_all_share(kernels, compute, form, special):
    problem, d_loss = loss_problem(form, batch=80, classes=300, num_sampled=100)
    problem.biases[problem.sampled[60]] = SPECIAL[special]
    computed = compute(kernels, problem, d_loss, "float32").arrays()
    truth = named(*define_loss(problem, d_loss))
    for name, values in computed.items():
        np.testing.assert_allclose(values, truth[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["exact", "shared", "per_example"])
def test_biases_of_minus_infinity_mask_classes(kernels, compute, form, dtype):
    """As if those classes were not there; whole tiles of them too."""
    problem, d_loss = loss_problem(form, dtype=dtype, classes=400, num_sampled=200)
    masked = np.arange(400) < 200
    biases = np.where(masked, -np.inf, problem.biases.astype(np.float32)).astype(table_type(dtype))
    labels = np.where(problem.labels < 200, problem.labels + 200, problem.labels)
    problem = replace(problem, biases=biases, labels=labels)
    computed = check(kernels, compute, problem, d_loss, dtype)
    assert not computed.gradients.d_weights[masked].any()
    assert not computed.gradients.d_biases[masked].any()
    if form == "exact":
        smaller = replace(
            problem, weights=problem.weights[200:], biases=biases[200:], labels=labels - 200
        )
        alone = compute(kernels, smaller, d_loss, dtype)
        assert largest_error(computed.loss, alone.loss) < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["exact", "shared", "per_example"])
def test_all_logits_minus_infinity(kernels, compute, form, dtype):
    problem, d_loss = loss_problem(form, dtype=dtype, classes=200)
    problem = replace(problem, biases=np.full_like(problem.biases, -np.inf))
    computed = compute(kernels, problem, d_loss, dtype)
    assert np.isnan(computed.loss).all() and np.isnan(computed.gradients.d_hidden).all()


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}], ids=["plain", "smoothing"])
def test_a_masked_label_has_infinite_loss(kernels, compute, options):
    problem, d_loss = loss_problem(**options)
    problem.biases[problem.labels[2]] = -np.inf
    computed = compute(kernels, problem, d_loss, "float32")
    expected, _ = define_loss(problem, d_loss)
    assert computed.loss[2] == np.inf
    np.testing.assert_allclose(computed.loss, expected, rtol=1e-5)


# What is wrong, and a pattern with argument, value and range.
ERRORS = {
    "a label below 0": ("exact", {"labels": [[0], [-1]]}, r"labels\[1\] = -1 .*\[0, 50\)"),
    "a label past the end": ("shared", {"labels": [[0], [50]]}, r"labels\[1\] = 50 .*\[0, 50\)"),
    "another label than the ignored one": (
        "exact",
        {"labels": [[-100], [-1]], "ignore_label": -100},
        r"labels\[1\] = -1 .*\[0, 50\)",
    ),
    "a sampled class below 0": (
        "shared",
        {"sampled": [3, -4]},
        r"sampled_candidates\[1\] = -4 .*\[0, 50\)",
    ),
    "a sampled class past the end": (
        "per_example",
        {"sampled": [[3, 4], [5, 50]]},
        r"sampled_candidates\[3\] = 50 .*\[0, 50\)",
    ),
    "the ignored label among the samples": (
        "shared",
        {"sampled": [3, -100], "ignore_label": -100},
        r"sampled_candidates\[1\] = -100 .*\[0, 50\)",
    ),
    "no samples": ("shared", {"sampled": []}, "num_sampled = 0 .*at least 1"),
    "no labels": ("exact", {"labels": np.zeros((2, 0))}, "num_true = 0 .*at least 1"),
    "no classes": (
        "exact",
        {"weights": np.zeros((0, 19), np.float32), "biases": None},
        "weights has no rows",
    ),
    "biases of another length": (
        "exact",
        {"biases": np.zeros(49, np.float32)},
        "biases has 49 .*weights has 50",
    ),
    "a count of zero": (
        "shared",
        {"counts": ([[1], [0]], [1, 1])},
        r"true_expected_count\[1\] = 0 is not positive, of class \d+: it has count 0 in .*; add 1",
    ),
    "a negative count": (
        "shared",
        {"counts": ([[1], [1]], [1, -2])},
        r"sampled_expected_count\[1\] = -2 is not positive",
    ),
    "a count that is NaN": (
        "per_example",
        {"sampled": [[3, 4], [5, 6]], "counts": ([[1], [1]], [[1, 1], [np.nan, 1]])},
        r"sampled_expected_count\[2\] = nan is not positive",
    ),
    "counts of another shape": (
        "shared",
        {"counts": ([[1], [1]], [1, 2, 3])},
        "counts must be as many as",
    ),
    "widths that differ": ("exact", {"weights": np.zeros((50, 18), np.float32)}, "width"),
    "hidden of another batch": ("exact", {"hidden": np.zeros((3, 19), np.float32)}, "batch"),
    "an unknown link": ("exact", {"link": "probit"}, 'link = "probit" .*"softmax" or "logistic"'),
    "logistic of all classes": ("exact", {"link": "logistic"}, "logistic .*sampled"),
    "a scale that is not finite": (
        "exact",
        {"logit_scale": np.inf},
        r"logit_scale = inf is not in \(-inf, inf\)",
    ),
    "a negative soft cap": ("exact", {"logit_softcap": -1.0}, r"logit_softcap = -1 .*\[0, inf\)"),
    "a soft cap that is NaN": ("shared", {"logit_softcap": np.nan}, r"logit_softcap = -?nan"),
    "smoothing of 1": ("exact", {"label_smoothing": 1.0}, r"label_smoothing = 1 .*\[0, 1\)"),
    "negative smoothing": (
        "exact",
        {"label_smoothing": -0.1},
        r"label_smoothing = -0.1 .*\[0, 1\)",
    ),
    "smoothing of sampled classes": ("shared", {"label_smoothing": 0.1}, "label_smoothing = 0.1 "),
    "a negative margin": ("exact", {"margin": -1.0}, r"margin = -1 .*\[0, 1000\)"),
    "a margin that is NaN": ("exact", {"margin": np.nan}, r"margin = -?nan .*\[0, 1000\)"),
    "a margin of sampled classes": ("shared", {"margin": 0.1}, "margin = 0.1 needs all classes"),
    "a negative z_loss": ("exact", {"z_loss": -1.0}, r"z_loss = -1 .*\[0, inf\)"),
    "z_loss without a softmax": ("shared_logistic", {"z_loss": 1.0}, "z_loss = 1 .*softmax"),
    "a target that is NaN": (
        "shared_logistic",
        {"positive_target": np.nan},
        r"positive_target = -?nan .*\[0, 1\]",
    ),
    "a target above 1": (
        "per_example_logistic",
        {"positive_target": 1.5},
        r"positive_target = 1.5 .*\[0, 1\]",
    ),
}


@pytest.mark.parametrize("error", ERRORS)
def test_bad_arguments_are_named(kernels, error):
    form, changes, message = ERRORS[error]
    problem, _ = loss_problem(form, batch=2, num_sampled=2)
    types = {"labels": np.int64, "sampled": np.int64}
    for name, value in changes.items():
        if name == "counts":
            counts = tuple(np.array(part, np.float32) for part in value)
            problem = replace(problem, counts=counts)
        elif name in LossProblem.__dataclass_fields__:
            if value is not None:
                value = np.asarray(value, types.get(name, np.float32))
            problem = replace(problem, **{name: value})
        else:
            problem = replace(problem, options=problem.options | {name: value})
    with pytest.raises(ValueError, match=message):
        make_loss(kernels, problem, "float32")
