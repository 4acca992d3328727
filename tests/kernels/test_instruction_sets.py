"""Every instruction set that the processor has: how it is chosen, and what each must give.

A unit in the last place (ULP) is the distance from a number to the next one of its type.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import platform
import subprocess
import sys
import warnings

import ml_dtypes
import numpy as np
import pytest
from kernels.definition import define_loss
from kernels.problems import DTYPES, FORMS, compute_loss, loss_problem, table_type

LOAD_MODULE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("_kernels", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
"""

# Each with the instructions of those before it.
SETS = {"x86_64": ["baseline", "avx2", "avx512", "avx512_bf16", "amx"], "aarch64": ["neon"]}
ALL = SETS.get(platform.machine(), ["baseline"])

# These multiply in bfloat16 by instructions that take subnormal numbers for zero.
MULTIPLY_BFLOAT16 = {"avx512_bf16", "amx"}

# Which word of the C library's fenv_t, and which of its bits, make subnormal floats count as zero.
FLUSH_SUBNORMALS = {"x86_64": (7, 0x8040), "aarch64": (0, 1 << 24)}


@contextlib.contextmanager
def subnormals_flushed():
    """This thread takes subnormal floats for zero, as threads of TensorFlow's pools do."""
    word, bits = FLUSH_SUBNORMALS[platform.machine()]
    libm = ctypes.CDLL("libm.so.6")
    before = (ctypes.c_uint32 * 8)()
    libm.fegetenv(before)
    during = type(before)(*before)
    during[word] |= bits
    libm.fesetenv(during)
    try:
        yield
    finally:
        libm.fesetenv(before)


def ulps(values, truth):
    """Errors in ULP of the type of `values`."""
    spacing = np.spacing(np.abs(truth).astype(values.dtype)).astype(np.float64)
    return np.abs(values.astype(np.float64) - truth) / spacing


# ---- Choice --------------------------------------------------------------------------------------


def test_each_can_be_selected(kernels, each_instruction_set):
    names = kernels.instruction_sets()
    assert names == ALL[: len(names)]
    if missing := ALL[len(names) :]:
        message = f"not tested, as this processor or build has none: {', '.join(missing)}"
        warnings.warn(message, stacklevel=1)
    assert [kernels.instruction_set() for _ in each_instruction_set()] == names


def test_unknown_and_missing_ones_are_refused(kernels):
    active, names = kernels.instruction_set(), kernels.instruction_sets()
    for name in ["sse9", *ALL[len(names) :]]:
        message = f"FASTW2V_ISA = {name} .* this processor and build have: " + ", ".join(names)
        with pytest.raises(ValueError, match=message + "$"):
            kernels.select_instruction_set(name)
        assert kernels.instruction_set() == active


def test_the_environment_decides_and_the_best_is_the_default(kernels):
    """The best is the last, without products in bfloat16 where float32's are at least as fast."""

    def active(environment):
        command = [
            sys.executable,
            "-c",
            LOAD_MODULE + "print(module.instruction_set())",
            kernels.__file__,
        ]
        result = subprocess.run(command, env=environment, capture_output=True, check=True)
        return result.stdout.decode().strip()

    environment = {name: value for name, value in os.environ.items() if name != "FASTW2V_ISA"}
    names = kernels.instruction_sets()
    is_intel = "GenuineIntel" in pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii")
    best = "avx512" if names[-1] == "avx512_bf16" and is_intel else names[-1]
    assert active(environment) == best
    for name in names:
        assert active(environment | {"FASTW2V_ISA": name}) == name


def test_one_in_the_environment_that_is_not_there_is_refused_by_every_loss(kernels):
    program = LOAD_MODULE + (
        "import numpy as np\n"
        "rows = np.zeros((1, 2), np.float32)\n"
        "module.Loss_float32(rows, rows, None, np.zeros((1, 1), np.int64))\n"
    )
    names = kernels.instruction_sets()
    for name in ["sse9", *ALL[len(names) :][-1:]]:
        result = subprocess.run(
            [sys.executable, "-c", program, kernels.__file__],
            env=os.environ | {"FASTW2V_ISA": name},
            capture_output=True,
            text=True,
        )
        assert result.returncode != 0
        assert f"ValueError: FASTW2V_ISA = {name} is not one of" in result.stderr
        assert result.stderr.rstrip().endswith("have: " + ", ".join(names))


# ---- Conversions ---------------------------------------------------------------------------------


def widen(kernels, dtype, bits):
    """uint16 patterns to float32, as the core reads a table."""
    rows = np.arange(len(bits))
    return getattr(kernels, f"Gather_{dtype}")(bits, rows).forward()


def narrow(kernels, dtype, x):
    """float32 to uint16 patterns, as the core writes a gradient: 0 + x, which makes -0 a 0."""
    rows = np.arange(len(x))
    _, bits = getattr(kernels, f"Gather_{dtype}")(np.zeros(x.shape, np.uint16), rows).backward(x)
    return bits


def all_patterns(width):
    """All 65536, in rows of `width` filled up with zeros."""
    rows = -(-(1 << 16) // width)
    patterns = np.zeros(rows * width, np.uint16)
    patterns[: 1 << 16] = np.arange(1 << 16)
    return patterns.reshape(rows, width)


@pytest.mark.parametrize("width", [1, 13, 64])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_all_16_bit_numbers_are_read_exactly(kernels, each_instruction_set, dtype, width):
    patterns = all_patterns(width)
    expected = patterns.view(table_type(dtype)).astype(np.float32)
    finite = ~np.isnan(expected)
    for name in each_instruction_set():
        values = widen(kernels, dtype, patterns)
        np.testing.assert_array_equal(values, expected, name)  # NaN where NaN is due
        np.testing.assert_array_equal(np.signbit(values)[finite], np.signbit(expected)[finite])


def test_half_subnormals_are_read_where_float_subnormals_count_as_zero(
    kernels, each_instruction_set
):
    patterns = all_patterns(64)
    expected = patterns.view(np.float16).astype(np.float32)
    for name in each_instruction_set():
        with subnormals_flushed():
            values = widen(kernels, "float16", patterns)
        np.testing.assert_array_equal(values, expected, name)


def rounding_cases(dtype):
    """All 16-bit numbers, the points halfway between them, their neighbors, and random floats."""
    numbers = np.arange(1 << 16, dtype=np.uint16).view(table_type(dtype))
    with np.errstate(invalid="ignore"):  # signaling NaN
        numbers = np.unique(numbers[np.isfinite(numbers)].astype(np.float64))
    halfway = ((numbers[1:] + numbers[:-1]) / 2).astype(np.float32)
    past_the_end = np.float32(numbers[-1] + (numbers[-1] - numbers[-2]) / 2)
    halfway = np.concatenate([halfway, [past_the_end, -past_the_end]]).astype(np.float32)
    rng = np.random.default_rng(0)
    anything = rng.integers(1 << 32, size=200_000, dtype=np.uint32).view(np.float32)
    near_one = rng.normal(size=100_000).astype(np.float32)
    special = np.array([np.inf, -np.inf, np.nan, -np.nan, 1e-45, -1e-45, 3e38, 0], np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    return np.concatenate(
        [
            numbers.astype(np.float32),
            halfway,
            np.nextafter(halfway, up),
            np.nextafter(halfway, down),
            anything,
            near_one,
            special,
        ]
    )


@pytest.mark.parametrize("width", [13, 64])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_floats_are_rounded_to_nearest_even(kernels, each_instruction_set, dtype, width):
    x = rounding_cases(dtype)
    x = x[: len(x) // width * width].reshape(-1, width)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = (np.float32(0) + x).astype(table_type(dtype))
    nan = np.isnan(x)
    for name in each_instruction_set():
        bits = narrow(kernels, dtype, x)
        np.testing.assert_array_equal(bits[~nan], expected.view(np.uint16)[~nan], name)
        assert np.isnan(bits.view(table_type(dtype))[nan].astype(np.float32)).all(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operands_are_rounded_to_nearest_bfloat16(kernels, each_instruction_set, dtype):
    """With one class of weight 1 the largest logit is the hidden value as rounded."""
    x = rounding_cases("bfloat16")
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    x, expected = x[np.isfinite(expected)], expected[np.isfinite(expected)]
    labels = np.zeros((len(x), 1), np.int64)
    normal = np.where(np.abs(expected) < np.finfo(np.float32).tiny, 0, expected)
    for name in each_instruction_set():
        loss = getattr(kernels, f"Loss_{dtype}")(
            x[:, np.newaxis].astype(dtype),
            np.ones((1, 1), dtype),
            None,
            labels,
            compute_dtype="bfloat16",
        )
        _, largest, _ = loss.forward()
        flushes = dtype == "float32" and name in MULTIPLY_BFLOAT16
        np.testing.assert_array_equal(largest, normal if flushes else expected, name)


# ---- Exponential, sigmoid, softplus --------------------------------------------------------------


def scan(dtype, low, high, count=200_001):
    """A column of numbers from `low` to `high`, both included."""
    return np.linspace(low, high, count).astype(dtype)[:, np.newaxis]


@pytest.mark.parametrize(("dtype", "lowest"), [("float32", -87.3), ("float64", -700.0)])
def test_exponential_is_within_2_ulp(kernels, each_instruction_set, dtype, lowest):
    """Logits 0 and x with a normalizer of 1 given to backward: d_hidden is exp(x)."""
    x = scan(dtype, lowest, 0)
    ones, zeros = np.ones(len(x), dtype), np.zeros(len(x), dtype)
    weights, labels = np.array([[0], [1]], dtype), np.zeros((len(x), 1), np.int64)
    for name in each_instruction_set():
        loss = getattr(kernels, f"Loss_{dtype}")(x, weights, None, labels)
        d_hidden, *_ = loss.backward(ones, zeros, zeros)
        assert np.max(ulps(d_hidden, np.exp(x.astype(np.float64)))) < 2, name


def test_exponential_of_less_is_zero(kernels, each_instruction_set):
    """Below -87.3 the truth is under the smallest normal float: an error of at most 1.3e-38."""
    x = np.append(scan(np.float32, -200, -87.31, 1001), [[-1e30], [-np.inf]], axis=0)
    x = x.astype(np.float32)
    ones, zeros = np.ones(len(x), np.float32), np.zeros(len(x), np.float32)
    weights = np.array([[1e-30], [1]], np.float32)  # no 0, which -inf would make a NaN
    labels = np.zeros((len(x), 1), np.int64)
    for name in each_instruction_set():
        loss = kernels.Loss_float32(x, weights, None, labels)
        _, _, _, d_biases = loss.backward(ones, zeros, zeros)
        assert d_biases[1] == 0, name


@pytest.mark.parametrize("label", [0, 1])
def test_softmax_of_two_classes(kernels, each_instruction_set, label):
    """Logits 0 and x. Rounding x - log_sum alone moves the exponential by |x| / 2 ULP."""
    x = scan(np.float32, -90, 0)
    z = x[:, 0].astype(np.float64)
    truth = np.log1p(np.exp(z)) - label * z
    weights, labels = np.array([[0], [1]], np.float32), np.full((len(x), 1), label)
    for name in each_instruction_set():
        loss = kernels.Loss_float32(x, weights, None, labels)
        value, largest, log_sum = loss.forward()
        # A sum near 1 is rounded to a multiple of 2^-23 before its logarithm is taken.
        assert np.max(np.abs(value - truth) / np.maximum(truth, 1)) < 2**-22, name
        d_hidden, *_ = loss.backward(np.ones(len(x), np.float32), largest, log_sum)
        if label == 0:
            kept = z > -87.3
            error = ulps(d_hidden[:, 0], 1 / (1 + np.exp(-z)))
            assert np.max((error - np.abs(z))[kept]) < 4, name
            assert np.max(np.abs(d_hidden[~kept])) < 1.3e-38, name


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 87.0), ("float64", 700.0)])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per_example"])
def test_sigmoid_and_softplus_are_within_4_ulp(kernels, each_instruction_set, shared, dtype, limit):
    """One sampled class with logit x; the label, of logit 800 and no weight, adds nothing."""
    x = scan(dtype, -limit, limit, 20_001)
    z = x[:, 0].astype(np.float64)
    small = np.exp(-np.abs(z))
    sigmoid, softplus = np.where(z < 0, small, 1) / (1 + small), np.maximum(z, 0) + np.log1p(small)
    weights, biases = np.array([[0], [1]], dtype), np.array([800, 0], dtype)
    sampled = np.ones(1, np.int64) if shared else np.ones((len(x), 1), np.int64)
    labels = np.zeros((len(x), 1), np.int64)
    zeros = np.zeros(len(x), dtype)
    for name in each_instruction_set():
        loss = getattr(kernels, f"Loss_{dtype}")(
            x, weights, biases, labels, sampled, link="logistic"
        )
        value, *_ = loss.forward()
        assert np.max(ulps(value, softplus)) < 4, name
        d_hidden, *_ = loss.backward(np.ones(len(x), dtype), zeros, zeros)
        assert np.max(ulps(d_hidden[:, 0], sigmoid)) < 4, name


# ---- Losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [1, 3, 4, 7, 8, 15, 16, 17, 33])
@pytest.mark.parametrize("form", FORMS)
def test_losses_agree(kernels, each_instruction_set, form, dim, dtype):
    """Within 2e-6 (float64: 1e-14) of the largest entry; 16-bit gradients within one step of it, as
    sums that differ in their last bits may be rounded apart."""
    problem, d_loss = loss_problem(
        form,
        dtype=dtype,
        batch=100,
        classes=150,
        dim=dim,
        num_true=2,
        num_sampled=110,
        logit_scale=1.5,
        logit_softcap=4.0,
    )
    tolerance = {8: 1e-14, 4: 2e-6, 2: 2**-7 if dtype == "bfloat16" else 2**-10}
    first = None
    for name in each_instruction_set():
        arrays = compute_loss(kernels, problem, d_loss, dtype).arrays()
        first = first or arrays
        for part, values in arrays.items():
            wide = first[part].astype(np.float64)
            error = np.max(np.abs(values.astype(np.float64) - wide)) / np.max(np.abs(wide))
            assert error <= tolerance[values.itemsize], (name, part)


# ---- Products in bfloat16 ------------------------------------------------------------------------

# (batch, classes, dim) around the 16 rows, 32 columns and 32 terms of a sum that instructions for
# bfloat16 take at a time, and around tiles of 96 rows and of up to 192 classes.
PRODUCT_SIZES = [
    (1, 1, 1),
    (2, 16, 2),
    (15, 17, 15),
    (16, 33, 16),
    (17, 31, 17),
    (31, 47, 31),
    (32, 49, 32),
    (33, 96, 33),
    (95, 65, 63),
    (96, 192, 64),
    (97, 193, 65),
    (130, 129, 130),
    (200, 1500, 100),
    (600, 3000, 128),
]


@pytest.mark.parametrize("softcap", [0.0, 3.0])
@pytest.mark.parametrize("one_call", [False, True], ids=["two calls", "one call"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", PRODUCT_SIZES, ids=str)
def test_products_in_bfloat16_agree(kernels, each_instruction_set, size, dtype, one_call, softcap):
    """Losses and d_biases within 2e-6 of the largest entry, other gradients within 2^-12: what they
    are products of, gradients of logits, may lie between two bfloat16 numbers and go to either.
    """
    batch, classes, dim = size
    problem, d_loss = loss_problem(
        dtype=dtype,
        batch=batch,
        classes=classes,
        dim=dim,
        label_smoothing=0.1,
        logit_softcap=softcap,
        compute_dtype="bfloat16",
    )
    products = {"loss": 2e-6, "d_biases": 2e-6, "d_hidden": 2**-12, "d_weights": 2**-12}
    rounding = {"float32": 0, "float16": 2**-11, "bfloat16": 2**-8}  # of gradients of tables
    first = None
    for name in each_instruction_set():
        arrays = compute_loss(kernels, problem, d_loss, dtype, one_call=one_call).arrays()
        first = first or arrays
        for part, values in arrays.items():
            wide = first[part].astype(np.float64)
            error = np.max(np.abs(values.astype(np.float64) - wide))
            allowed = products[part] + (rounding[dtype] if values.itemsize == 2 else 0)
            # A loss or gradient near 0 is a difference of logits or probabilities near 1.
            assert error <= allowed * max(np.max(np.abs(wide)), 0.1), (name, part)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["hidden", "weights"])
def test_products_in_bfloat16_keep_nan_and_inf(kernels, each_instruction_set, place, special):
    """One number of row 5 or class 7: finite elsewhere, also where rows and sums are filled up."""
    problem, d_loss = loss_problem(batch=50, classes=70, dim=33, compute_dtype="bfloat16")
    getattr(problem, place)[5 if place == "hidden" else 7, 20] = special
    truth, gradients = define_loss(problem, d_loss)
    expected = {"loss": truth} | vars(gradients)
    for name in each_instruction_set():
        for part, values in compute_loss(kernels, problem, d_loss, "float32").arrays().items():
            finite = np.isfinite(expected[part])
            np.testing.assert_array_equal(np.isfinite(values), finite, (name, part))
            np.testing.assert_array_equal(np.isnan(values), np.isnan(expected[part]))
            np.testing.assert_allclose(values[finite], expected[part][finite], rtol=0.02, atol=0.02)
