"""The exact loss by Hopper's kernels: emulated, or on a GPU of compute capability 9.0.

Their tiles are 64 columns of 64 rows; a block has 128 or 256 hidden rows and meets 64 or 128
classes at a time. Up to a width of 256 logits are computed again for the gradients; above, the
gradients of logits are stored.
"""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from kernels.cuda.test_exact_loss import check, compute, exact_problem
from kernels.definition import define_loss

IGNORED = -100
DTYPES = ("bfloat16", "float16")


@pytest.fixture(autouse=True)
def hopper(device, cuda, monkeypatch):
    """Makes the emulated device one of Hopper's kind."""
    if device.emulated:
        monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "90")
    elif cuda.device()["arch"] != 90:
        pytest.skip("the GPU is not of compute capability 9.0")


# (batch, classes, dim) and why.
SIZES = {
    "one chunk of columns, one row": (1, 2, 64),
    "a tile": (128, 128, 64),
    "above a tile": (129, 130, 64),
    "two chunks, two row tiles a warpgroup": (257, 300, 128),
    "four chunks": (140, 200, 256),
    "columns that fill no chunk": (70, 150, 40),
    "rows of 200 bytes, padded to 208": (130, 140, 100),
    "rows of 196 bytes, padded to 208": (30, 270, 98),
    "rows of 600 bytes": (131, 260, 300),
    "a tile has more chunks than there are stages": (70, 260, 512),
    "the same, padded": (70, 260, 510),
    "wider than hidden rows can stay": (40, 150, 1024),
    "the same, two row tiles, padded": (140, 130, 516),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_the_definition(cuda, device, size, dtype):
    batch, classes, dim = SIZES[size]
    problem, d_loss = exact_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, label_smoothing=0.1
    )
    check(cuda, device, problem, d_loss, dtype)


OPTIONS = {
    "plain": {},
    "no biases": {"biases": False},
    "negative logit_scale": {"logit_scale": -0.7},
    "z_loss": {"z_loss": 0.01},
    "some labels ignored": {"ignore_label": IGNORED, "ignored": 0.4},
    "all labels ignored": {"ignore_label": IGNORED, "ignored": 1},
    "all at once": {
        "logit_scale": 1.7,
        "label_smoothing": 0.2,
        "z_loss": 0.003,
        "ignore_label": 7,
        "ignored": 0.3,
    },
    # Not of these kernels' kind: the portable ones take them.
    "several labels": {"num_true": 2},
    "logit_softcap": {"logit_softcap": 3.0},
    "margin": {"margin": 0.7},
    "odd width": {"dim": 63},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_equals_the_definition(cuda, device, options):
    arguments = {"batch": 60, "classes": 140, "dim": 72} | OPTIONS[options]
    problem, d_loss = exact_problem(dtype="bfloat16", **arguments)
    check(cuda, device, problem, d_loss, "bfloat16", one_call=True)


# Above a width of 256 gradients of logits are stored. (batch, classes, dim) and why.
STORED_SIZES = {
    "hidden rows stay": (70, 150, 264),
    "rows of 600 bytes": (70, 130, 300),
    "hidden rows move, two row tiles": (140, 130, 520),
}
STORED_OPTIONS = OPTIONS | {
    "several labels, some ignored": {"num_true": 3, "ignore_label": IGNORED, "ignored": 0.4},
    "logit_softcap and several labels": {
        "logit_softcap": 2.0,
        "num_true": 2,
        "logit_scale": 1.7,
        "label_smoothing": 0.2,
        "z_loss": 0.003,
    },
    "compute_dtype": {"compute_dtype": "bfloat16", "logit_scale": 1.7},
}
STORED_CASES = [
    (size, options)
    for size in STORED_SIZES
    for options in STORED_OPTIONS
    if "dim" not in STORED_OPTIONS[options]
    and (
        size == "hidden rows stay" or options in ("all at once", "logit_softcap and several labels")
    )
]


@pytest.mark.parametrize(("size", "options"), STORED_CASES)
def test_stored_gradients_of_logits_with_every_option(cuda, device, size, options):
    batch, classes, dim = STORED_SIZES[size]
    arguments = {"batch": batch, "classes": classes, "dim": dim} | STORED_OPTIONS[options]
    problem, d_loss = exact_problem(dtype="bfloat16", **arguments)
    check(cuda, device, problem, d_loss, "bfloat16")


@pytest.mark.parametrize("dim", [264, 520])
def test_rows_with_a_bad_label_store_no_gradients(cuda, device, dim):
    problem, d_loss = exact_problem(dtype="bfloat16", batch=140, classes=150, dim=dim)
    labels, bad = problem.labels.copy(), [3, 70, 135]
    labels[bad] = np.reshape([150, -2, 151], (3, 1))
    computed = compute(cuda, device, replace(problem, labels=labels), d_loss, "bfloat16")
    good = np.setdiff1d(np.arange(140), bad)
    rest = replace(problem, hidden=problem.hidden[good], labels=problem.labels[good])
    _, expected = define_loss(rest, d_loss[good])
    assert np.isnan(computed.loss[bad]).all()
    assert (computed.gradients.d_hidden[bad] == 0).all()
    for name in ("d_weights", "d_biases"):
        values, truth = getattr(computed.gradients, name), getattr(expected, name)
        np.testing.assert_allclose(
            values.astype(np.float64), truth, atol=0.01 * np.abs(truth).max(), err_msg=name
        )


def bits(computed):
    return {name: array.tobytes() for name, array in computed.arrays().items()}


@pytest.mark.parametrize("dim", [100, 128, 300, 520])
def test_the_order_of_threads_and_blocks_changes_no_bit(cuda, device, dim, monkeypatch):
    if not device.emulated:
        pytest.skip("a GPU chooses the order itself")
    problem, d_loss = exact_problem(dtype="bfloat16", batch=130, classes=270, dim=dim)
    expected = bits(compute(cuda, device, problem, d_loss, "bfloat16"))
    for order in ("reverse", "3"):
        monkeypatch.setenv("FASTW2V_EMULATED_ORDER", order)
        assert bits(compute(cuda, device, problem, d_loss, "bfloat16")) == expected


@pytest.mark.parametrize("dim", [64, 300])
def test_the_portable_kernels_are_not_what_runs(cuda, device, dim, monkeypatch):
    if not device.emulated:
        pytest.skip("a GPU has one arch")
    problem, d_loss = exact_problem(dtype="bfloat16", batch=130, classes=270, dim=dim)
    of_hopper = bits(compute(cuda, device, problem, d_loss, "bfloat16"))
    monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "80")
    assert bits(compute(cuda, device, problem, d_loss, "bfloat16")) != of_hopper


@pytest.mark.parametrize("dim", [96, 100])
def test_only_weights_that_fit_are_padded(cuda, device, dim):
    """As many bytes as logits may take: above that, other kernels take what has to be padded."""
    problem, d_loss = exact_problem(dtype="bfloat16", batch=130, classes=270, dim=dim)
    of_hopper = bits(compute(cuda, device, problem, d_loss, "bfloat16"))
    try:
        cuda.set_logit_bytes(269 * 104 * 2)
        check(cuda, device, problem, d_loss, "bfloat16")
        computed = bits(compute(cuda, device, problem, d_loss, "bfloat16"))
    finally:
        cuda.set_logit_bytes(0)
    assert (computed == of_hopper) == (dim == 96)


def test_hidden_rows_by_ids_are_gathered(cuda, device):
    problem, d_loss = exact_problem(dtype="bfloat16", batch=50, classes=140, dim=64)
    ids = np.random.default_rng(0).integers(0, 50, size=50)
    gathered = compute(
        cuda, device, replace(problem, hidden=problem.hidden[ids]), d_loss, "bfloat16"
    )
    assert bits(compute(cuda, device, problem, d_loss, "bfloat16", ids=ids)) == bits(gathered)


def test_bad_ids_and_labels_give_nan_and_no_gradient(cuda, device):
    problem, d_loss = exact_problem(dtype="bfloat16", batch=50, classes=140, dim=64)
    ids, labels = np.arange(50), problem.labels.copy()
    ids[3], ids[4] = -1, 50
    labels[7], labels[8] = 140, -2
    bad = [3, 4, 7, 8]
    computed = compute(cuda, device, replace(problem, labels=labels), d_loss, "bfloat16", ids=ids)
    assert np.isnan(computed.loss[bad]).all()
    good = np.setdiff1d(np.arange(50), bad)
    rest = replace(problem, hidden=problem.hidden[good], labels=problem.labels[good])
    loss, gradients = define_loss(rest, d_loss[good])
    np.testing.assert_allclose(computed.loss[good], loss, rtol=1e-5)
    assert (computed.gradients.d_hidden[bad] == 0).all()
    for name, values in vars(computed.gradients).items():
        values = values[good] if name == "d_hidden" else values
        expected = getattr(gradients, name)
        np.testing.assert_allclose(
            values.astype(np.float64), expected, atol=0.01 * np.abs(expected).max(), err_msg=name
        )


def test_nan_in_a_class_reaches_every_example(cuda, device):
    problem, d_loss = exact_problem(dtype="bfloat16", batch=20, classes=300, dim=64)
    problem.weights[270, 3] = np.nan
    computed = compute(cuda, device, problem, d_loss, "bfloat16")
    assert np.isnan(computed.loss).all()
    assert np.isnan(computed.gradients.d_hidden).all()


def test_a_large_common_offset_cancels(cuda, device):
    problem, d_loss = exact_problem(dtype="bfloat16", batch=40, classes=200, dim=64)
    offset = np.full(200, 2.0**16, ml_dtypes.bfloat16)
    shifted = compute(cuda, device, replace(problem, biases=offset), d_loss, "bfloat16")
    loss, _ = define_loss(replace(problem, biases=None), d_loss)
    # A logit of 2^16 is a multiple of 2^-7.
    np.testing.assert_allclose(shifted.loss, loss, atol=2**-6)


def test_small_gradients_of_float16_do_not_vanish(cuda, device):
    problem, d_loss = exact_problem(dtype="float16", batch=60, classes=200, dim=64)
    tiny = compute(cuda, device, problem, d_loss * np.float32(2**-30), "float16")
    plain = compute(cuda, device, problem, d_loss, "float16")
    np.testing.assert_array_equal(
        tiny.gradients.d_hidden, plain.gradients.d_hidden * np.float32(2**-30)
    )
