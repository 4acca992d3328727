"""The exact loss where its logits are stored in several blocks.

A block is as large as `set_logit_bytes` allows; in test_exact_loss.py all logits are one block.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from kernels.cuda.test_exact_loss import IGNORED, Call, check, compute, exact_problem
from kernels.cuda.test_softmax_parts import check as check_parts
from kernels.problems import DTYPES

# Of all kinds, so that they go by blocks whatever the type and the width are.
OPTIONS = {
    "num_true": 3,
    "logit_scale": 1.3,
    "logit_softcap": 3.0,
    "margin": 0.4,
    "label_smoothing": 0.1,
    "z_loss": 0.003,
    "ignore_label": IGNORED,
    "ignored": 0.3,
}
# A tile of 128 classes at a time.
SMALLEST = 1


@pytest.fixture(autouse=True)
def choose_logit_bytes(cuda):
    """Sets the bytes of a block for a test."""
    yield cuda.set_logit_bytes
    cuda.set_logit_bytes(0)


@pytest.fixture(params=["portable", "hopper"])
def arch(request, device, cuda, monkeypatch):
    """Both kinds of kernels for 16-bit tables; a GPU has one of them."""
    hopper = request.param == "hopper"
    if device.emulated:
        monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "90" if hopper else "80")
    elif (cuda.device()["arch"] == 90) != hopper:
        pytest.skip("the GPU has the other kernels")


@pytest.mark.parametrize("one_call", [False, True])
@pytest.mark.parametrize("dim", [19, 24])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_of_classes(cuda, device, choose_logit_bytes, dtype, dim, one_call):
    """Rows of weights are copied where they are not aligned; the last block is smaller."""
    choose_logit_bytes(SMALLEST)
    problem, d_loss = exact_problem(dtype=dtype, batch=70, classes=301, dim=dim, **OPTIONS)
    check(cuda, device, problem, d_loss, dtype, one_call=one_call)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    "options", [{}, {"num_true": 2, "logit_softcap": 3.0}], ids=["", "softcap"]
)
@pytest.mark.parametrize("dim", [264, 301])
def test_wide_rows_of_16_bits(cuda, device, arch, choose_logit_bytes, dim, options, dtype):
    choose_logit_bytes(SMALLEST)
    problem, d_loss = exact_problem(dtype=dtype, batch=140, classes=301, dim=dim, **options)
    check(cuda, device, problem, d_loss, dtype)


def bytes_of_rows(rows, dtype):
    """So that a block has that many rows of 256 logits, and a sum for biases for 32 of them."""
    return rows * 256 * np.dtype(dtype).itemsize * 33 // 32 + 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "all at once"])
def test_blocks_of_rows(cuda, device, choose_logit_bytes, options, dtype):
    """In one call: two blocks of 150 rows and all classes, to whose gradients both add."""
    choose_logit_bytes(bytes_of_rows(160, dtype))
    problem, d_loss = exact_problem(dtype=dtype, batch=300, classes=200, dim=20, **options)
    check(cuda, device, problem, d_loss, dtype, one_call=True)
    in_two = compute(cuda, device, problem, d_loss, dtype).arrays()
    for name, values in (
        compute(cuda, device, problem, d_loss, dtype, one_call=True).arrays().items()
    ):
        scale = np.max(np.abs(in_two[name]))
        np.testing.assert_allclose(values, in_two[name], rtol=0, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_operands_rounded_to_bfloat16(cuda, device, choose_logit_bytes, dtype):
    """As in one block: the same products, in other runs of sums."""
    problem, d_loss = exact_problem(
        dtype=dtype, batch=50, classes=300, dim=33, num_true=2, compute_dtype="bfloat16"
    )
    in_one = compute(cuda, device, problem, d_loss, dtype).arrays()
    choose_logit_bytes(SMALLEST)
    for name, values in compute(cuda, device, problem, d_loss, dtype).arrays().items():
        expected = in_one[name].astype(np.float64)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(
            values.astype(np.float64), expected, rtol=0, atol=2**-9 * scale, err_msg=name
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parts_of_the_classes(cuda, device, choose_logit_bytes, dtype):
    choose_logit_bytes(SMALLEST)
    problem, d_loss = exact_problem(dtype=dtype, batch=30, classes=400, dim=264, num_true=2)
    check_parts(cuda, device, problem, d_loss, dtype, [150, 390])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bits_every_time(cuda, device, choose_logit_bytes, dtype, monkeypatch):
    choose_logit_bytes(SMALLEST)
    problem, d_loss = exact_problem(dtype=dtype, batch=40, classes=300, dim=264, num_true=2)
    once = compute(cuda, device, problem, d_loss, dtype).arrays()
    for order in ("reverse", "3"):
        if device.emulated:
            monkeypatch.setenv("FASTW2V_EMULATED_ORDER", order)
        again = compute(cuda, device, problem, d_loss, dtype).arrays()
        for name, values in once.items():
            assert values.tobytes() == again[name].tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_example_out_of_range_in_the_second_block_of_rows(
    cuda, device, choose_logit_bytes, dtype
):
    choose_logit_bytes(bytes_of_rows(160, dtype))
    problem, d_loss = exact_problem(dtype=dtype, batch=300, classes=200, dim=20)
    labels = problem.labels.copy()
    labels[[3, 299]] = 200
    wrong = replace(problem, labels=labels)
    computed = compute(cuda, device, wrong, d_loss, dtype, one_call=True)
    bad = np.isin(np.arange(300), [3, 299])
    np.testing.assert_array_equal(np.isnan(computed.loss), bad)
    assert not computed.gradients.d_hidden[bad].any()
    assert np.isfinite(computed.gradients.d_weights.astype(np.float64)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scratch_memory_is_bounded(cuda, device, choose_logit_bytes, dtype):
    """By the bytes of a block, and numbers and rows of each example."""
    most = 1 << 20
    choose_logit_bytes(most)
    problem, _ = exact_problem(dtype=dtype, batch=64, classes=50_000, dim=20, margin=0.5)
    sums = np.dtype(np.float64 if dtype == "float64" else np.float32).itemsize
    of_examples = 64 * (64 + 20) * sums + 64 * 4 * sums * 50_000 // 128
    assert Call(cuda, device, problem, dtype).loss.scratch_bytes() < most + of_examples
    assert most + of_examples < 64 * 50_000 * sums / 2
