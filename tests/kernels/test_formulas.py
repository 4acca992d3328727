"""What kernels compute by vectors is what the formulas of csrc/core/loss_formulas.h say.

The formulas are bound by themselves; each instruction set may differ from them by rounding alone.
"""

from __future__ import annotations

import numpy as np
import pytest

DTYPES = ("float32", "float64")
# Relative, or of 1 where numbers are smaller: some units in the last place.
TOLERANCE = {"float32": 1e-6, "float64": 4e-15}
LOGITS = np.concatenate([np.linspace(-60, 60, 241), [-1e-3, 0, 1e-3, 80, -80]])


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def formula(kernels, name, dtype):
    return getattr(kernels.formulas, f"{name}_{dtype}")


def same(values, expected, dtype):
    error = np.abs(values - expected) / np.maximum(np.abs(expected), 1)
    assert np.max(error) <= TOLERANCE[dtype]


def test_logistic_links(kernels, each_instruction_set, dtype):
    """Softplus and sigmoid, of labels and of sampled classes."""
    x = LOGITS.astype(dtype)
    softplus, sigmoid, label_loss = (
        formula(kernels, name, dtype) for name in ("softplus", "sigmoid", "label_loss")
    )
    target = 0.75
    expected = label_loss(target, softplus(x), softplus(-x)) + softplus(x)
    expected_gradient = (sigmoid(x) - target) + sigmoid(x)
    labels = np.zeros((len(x), 1), np.int64)
    for candidates in (np.ones((len(x), 1), np.int64), np.ones(1, np.int64)):
        for _ in each_instruction_set():
            loss = getattr(kernels, f"Loss_{dtype}")(
                x[:, None], np.ones((2, 1), dtype), None, labels, candidates,
                link="logistic", positive_target=target,
            )  # fmt: skip
            value, largest, log_sum = loss.forward()
            d_hidden, *_ = loss.backward(np.ones_like(x), largest, log_sum)
            same(value, expected, dtype)
            same(d_hidden[:, 0], expected_gradient, dtype)


@pytest.mark.parametrize(
    "logits",
    [
        LOGITS[::9],
        np.array([-np.inf, 3.5, -np.inf, 3.5, 700.0]),
        np.full(3, -np.inf),
    ],
    ids=["finite", "some without weight", "all without weight"],
)
@pytest.mark.parametrize("from_left", [True, False])
def test_the_sums_of_parts(kernels, dtype, logits, from_left):
    """One class joined to the next, in both orders: the sums over all of them."""
    join, one_class = (formula(kernels, name, dtype) for name in ("join", "one_class"))
    parts = [one_class(z) for z in logits.astype(dtype)]
    sums = parts[0]
    for part in parts[1:]:
        sums = join(sums, part) if from_left else join(part, sums)
    logits = logits.astype(dtype).astype(np.float64)
    largest, sum_exp, sum_shifted, classes = sums
    assert (largest, classes) == (np.max(logits), len(logits))
    finite = logits[np.isfinite(logits)]
    same(np.array(sum_exp), np.sum(np.exp(finite - largest)), dtype)
    if len(finite) == len(logits):
        same(np.array(sum_shifted), np.sum(finite - largest), dtype)


@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
def test_the_softmax(kernels, each_instruction_set, dtype, one_call):
    """Its loss, and the terms of the gradients of logits, with label smoothing and z_loss."""
    x = LOGITS[np.abs(LOGITS) < 30].astype(dtype)
    options = {"label_smoothing": 0.2, "z_loss": 0.01}
    labels = np.zeros((len(x), 1), np.int64)  # the class whose logit is x; the other one's is 0
    d_loss = np.linspace(-1, 2, len(x)).astype(dtype)
    softmax_loss, gradient_terms = (
        formula(kernels, name, dtype) for name in ("softmax_loss", "gradient_terms")
    )
    for _ in each_instruction_set():
        loss = getattr(kernels, f"Loss_{dtype}")(
            x[:, None], np.array([[1], [0]], dtype), None, labels, **options
        )
        value, largest, log_sum = loss.forward()
        gradients = loss.backward(d_loss, largest, log_sum)
        if one_call:
            (value, largest, log_sum), gradients = loss.forward_backward(d_loss)
        np.testing.assert_array_equal(largest, np.maximum(x, 0))
        same(log_sum, np.log1p(np.exp(-np.abs(x))), dtype)
        expected = softmax_loss(
            0.2, 0.01, 2, largest, log_sum, largest - x, (x - largest) + (0 - largest)
        )
        same(value, expected, dtype)
        for b, d_hidden in enumerate(gradients[0][:, 0]):
            terms = gradient_terms(0.2, 0.01, 2, d_loss[b], largest[b], log_sum[b], 1)
            scale, shift, target = terms
            same(d_hidden, scale * np.exp(x[b] - largest[b] - log_sum[b]) - shift - target, dtype)


def test_the_soft_cap(kernels, each_instruction_set, dtype):
    """Of logits, and its slope in their gradients."""
    x, cap = LOGITS.astype(dtype), 7.5
    cap_logit, cap_slope = (formula(kernels, name, dtype) for name in ("cap_logit", "cap_slope"))
    ones = np.ones((1, 1), dtype)
    for _ in each_instruction_set():
        values, _ = getattr(kernels, f"top_k_{dtype}")(x[:, None], ones, None, 1, logit_softcap=cap)
        same(values[:, 0], cap_logit(x, cap), dtype)
        loss = getattr(kernels, f"Loss_{dtype}")(
            x[:, None], np.array([[1], [0]], dtype), None, np.ones((len(x), 1), np.int64),
            logit_softcap=cap,
        )  # fmt: skip
        _, largest, log_sum = loss.forward()
        d_hidden, *_ = loss.backward(np.ones_like(x), largest, log_sum)
        share = np.exp(cap_logit(x, cap) - largest - log_sum)
        same(d_hidden[:, 0], share * cap_slope(x, cap), dtype)
