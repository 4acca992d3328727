"""An exact softmax from parts of the classes on a GPU, against the definition of the whole.

Errors may be as large as those of the whole loss (test_exact_loss.py).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from kernels.cuda.test_exact_loss import (
    EXACT_OPTIONS,
    IGNORED,
    OPTION_CASES,
    Call,
    Computed,
    compare,
    exact_problem,
)
from kernels.definition import LossGradients, StoredLogits
from kernels.problems import DTYPES
from kernels.test_loss import OPTIONS, TOLERANCE, largest_error

HOPPER_DTYPES = ("bfloat16", "float16")


@dataclass(frozen=True)
class Part:
    """Classes [first, last) of a problem on the device, and what they tell of the examples."""

    call: Call
    statistics: np.ndarray


def bounds_of(cuts, classes):
    return list(itertools.pairwise([0, *cuts, classes]))


def make_part(cuda, device, problem, dtype, first, last, **arguments):
    biases = None if problem.biases is None else problem.biases[first:last]
    here = replace(problem, weights=problem.weights[first:last], biases=biases)
    call = Call(
        cuda, device, here, dtype, first_class=first, part_of=len(problem.weights), **arguments
    )
    statistics = device.empty((4, call.batch), call.sums)
    call.loss.forward_part(statistics, call.scratch)
    return Part(call, device.to_host(statistics))


def join(cuda, device, statistics, part_classes, labels, **options):
    """loss, max and log_sum."""
    sums = statistics.dtype
    results = [device.empty(len(labels), sums) for _ in range(3)]
    getattr(cuda, f"join_softmax_parts_{sums}")(
        device.to_device(statistics),
        device.to_device(np.array(part_classes, np.int64)),
        device.to_device(labels),
        *results,
        **options,
    )
    return [device.to_host(array) for array in results]


def compute(cuda, device, problem, d_loss, dtype, cuts, **arguments):
    """Losses and gradients, each part by its own call with scratch of its own."""
    bounds = bounds_of(cuts, len(problem.weights))
    parts = [make_part(cuda, device, problem, dtype, *bound, **arguments) for bound in bounds]
    loss, largest, log_sum = join(
        cuda,
        device,
        np.stack([part.statistics for part in parts]),
        [last - first for first, last in bounds],
        problem.labels,
        **problem.options,
    )
    gradients = []
    for part in parts:
        call = part.call
        call.max, call.log_sum = device.to_device(largest), device.to_device(log_sum)
        call.scratch = device.scratch(call.loss.scratch_bytes())
        gradients.append(call.gradients(d_loss))
    d_hidden, d_weights, d_biases = zip(*gradients, strict=True)
    return Computed(
        loss, LossGradients(sum(d_hidden), np.concatenate(d_weights), np.concatenate(d_biases))
    )


def check(cuda, device, problem, d_loss, dtype, cuts, **arguments):
    computed = compute(cuda, device, problem, d_loss, dtype, cuts, **arguments)
    compare(computed, problem, d_loss, dtype)
    return computed


def use_kernels_of_hopper(device, cuda, monkeypatch, wanted):
    """For 16-bit tables; a GPU has one kind or the other."""
    if device.emulated:
        monkeypatch.setenv("FASTW2V_EMULATED_ARCH", "90" if wanted else "80")
    elif (cuda.device()["arch"] == 90) != wanted:
        pytest.skip("the GPU has the other kernels")


@pytest.fixture
def hopper(device, cuda, monkeypatch):
    use_kernels_of_hopper(device, cuda, monkeypatch, True)


@pytest.fixture(params=["portable", "hopper"])
def arch(request, device, cuda, monkeypatch):
    """Both kinds of kernels."""
    use_kernels_of_hopper(device, cuda, monkeypatch, request.param == "hopper")


@pytest.mark.parametrize(("options", "dtype"), OPTION_CASES)
def test_every_option_equals_the_definition(cuda, device, options, dtype):
    problem, d_loss = exact_problem(dtype=dtype, **OPTIONS[options])
    classes = len(problem.weights)
    check(cuda, device, problem, d_loss, dtype, [classes // 3, classes - 2])


# (batch, classes, dim), where parts begin, and why. Tiles have 128 rows and classes; of Hopper's
# kernels 64 or 128, in chunks of 64 columns; above a width of 256 they store gradients of logits.
SIZES = {
    "one part": ((20, 50, 40), []),
    "parts of one class": ((5, 4, 8), [1, 2, 3]),
    "unequal parts": ((30, 103, 20), [26, 52, 78]),
    "many parts": ((7, 103, 12), list(range(5, 103, 5))),
    "empty parts": ((9, 60, 16), [0, 0, 20, 20, 60]),
    "tiles, and one more or less": ((129, 512, 64), [127, 255, 383]),
    "parts of several tiles": ((3, 1000, 12), [300, 301]),
    "rows of 200 bytes": ((140, 270, 100), [139]),
    "wide rows": ((131, 260, 300), [2, 130]),
    "hidden rows that do not stay": ((20, 150, 520), [40]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_the_definition(cuda, device, size, dtype):
    (batch, classes, dim), cuts = SIZES[size]
    problem, d_loss = exact_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, num_true=2, label_smoothing=0.1
    )
    check(cuda, device, problem, d_loss, dtype, cuts)


@pytest.mark.parametrize("dtype", HOPPER_DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_by_the_kernels_of_hopper(cuda, device, hopper, size, dtype):
    """One label: more than that the portable kernels take."""
    (batch, classes, dim), cuts = SIZES[size]
    problem, d_loss = exact_problem(
        dtype=dtype, batch=batch, classes=classes, dim=dim, label_smoothing=0.1, z_loss=0.01
    )
    check(cuda, device, problem, d_loss, dtype, cuts)


@pytest.mark.parametrize("dim", [40, 264])
@pytest.mark.parametrize(
    "options", [name for name in EXACT_OPTIONS if "num_true" not in OPTIONS[name]]
)
def test_every_option_by_the_kernels_of_hopper(cuda, device, hopper, options, dim):
    arguments = {"batch": 60, "classes": 140} | OPTIONS[options] | {"dim": dim}
    problem, d_loss = exact_problem(dtype="bfloat16", **arguments)
    check(cuda, device, problem, d_loss, "bfloat16", [50, 51])


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_part_tells(cuda, device, arch, dtype):
    """The four statistics themselves."""
    problem, _ = exact_problem(
        dtype=dtype, batch=70, classes=150, dim=24, label_smoothing=0.1, ignore_label=7, ignored=0.3
    )
    logits = StoredLogits(problem)
    for first, last in bounds_of([40, 41, 129], 150):
        found = make_part(cuda, device, problem, dtype, first, last).statistics
        z = logits.logits[:, first:last]
        largest = z.max(axis=1)
        below = largest[:, np.newaxis] - z
        expected = [
            largest,
            np.exp(-below).sum(axis=1),
            (logits.times_label[:, first:last] * below).sum(axis=1),
            -below.sum(axis=1),
        ]
        for values, truth in zip(found, expected, strict=True):
            assert largest_error(values, truth) < 2 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("owner", [0, 1, 2])
def test_all_labels_in_one_part(cuda, device, arch, owner, dtype):
    cuts = [60, 130]
    problem, d_loss = exact_problem(dtype=dtype, batch=40, classes=200, dim=20)
    first, last = bounds_of(cuts, 200)[owner]
    problem = replace(problem, labels=first + problem.labels % (last - first))
    check(cuda, device, problem, d_loss, dtype, cuts)
    for part, (begin, end) in enumerate(bounds_of(cuts, 200)):
        below_max = make_part(cuda, device, problem, dtype, begin, end).statistics[2]
        assert below_max.any() == (part == owner)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_ignored_label_may_be_the_number_that_a_class_has_in_its_part(cuda, device, arch, dtype):
    """Classes 57 and 107 are class 7 of their parts."""
    problem, d_loss = exact_problem(
        dtype=dtype, batch=40, classes=150, dim=20, ignore_label=7, ignored=0.2
    )
    labels = problem.labels.copy()
    labels[:10], labels[10:20] = 57, 107
    check(cuda, device, replace(problem, labels=labels), d_loss, dtype, [50, 100])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_of_minus_infinity(cuda, device, arch, smoothing, dtype):
    """A whole part and the end of another have no weight: as if those classes were not there."""
    problem, d_loss = exact_problem(
        dtype=dtype, batch=30, classes=300, dim=12, label_smoothing=smoothing
    )
    padding = np.zeros(300, bool)
    padding[:140] = padding[290:] = True
    problem.biases[padding] = -np.inf
    problem = replace(problem, labels=140 + problem.labels % 150)
    computed = compute(cuda, device, problem, d_loss, dtype, [140, 200])
    if smoothing:  # the mean over all logits has no value
        assert (computed.loss == np.inf).all()
        return
    compare(computed, problem, d_loss, dtype)
    assert not computed.gradients.d_weights[padding].any()
    assert not computed.gradients.d_biases[padding].any()
    largest, sum_exp, below_max, _ = make_part(
        cuda, device, problem, dtype, 0, 140
    ).statistics.astype(np.float64)
    assert (largest == -np.inf).all() and not sum_exp.any() and not below_max.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_label_without_weight_is_infinitely_far(cuda, device, arch, dtype):
    """In a part with others, and in one where no class has weight."""
    problem, d_loss = exact_problem(dtype=dtype, batch=30, classes=300, dim=12)
    problem.biases[:140] = -np.inf
    problem.biases[150] = -np.inf
    labels = 160 + problem.labels % 140
    labels[3], labels[4] = 20, 150
    problem = replace(problem, labels=labels)
    loss = compute(cuda, device, problem, d_loss, dtype, [140]).loss
    lost = np.isin(np.arange(30), [3, 4])
    assert (loss[lost] == np.inf).all() and np.isfinite(loss[~lost]).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_all_logits_minus_infinity(cuda, device, arch, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=9, dim=20)
    problem = replace(problem, biases=np.full_like(problem.biases, -np.inf))
    computed = compute(cuda, device, problem, d_loss, dtype, [20])
    assert np.isnan(computed.loss).all() and np.isnan(computed.gradients.d_hidden).all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_nan_of_a_part_is_nan_of_the_loss(cuda, device, arch, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=12, classes=70, dim=20)
    problem.hidden[5] = np.nan
    loss = compute(cuda, device, problem, d_loss, dtype, [30]).loss
    np.testing.assert_array_equal(np.isnan(loss), np.arange(12) == 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_a_large_offset_of_all_logits_cancels(cuda, device, offset, dtype):
    """Logits are multiples of 1/16, which float32 holds beside the offset: the loss is the same."""
    problem, d_loss = exact_problem(dtype=dtype, batch=60, dim=7, num_true=2)
    near = replace(
        problem,
        hidden=np.round(problem.hidden * 4) / 4,
        weights=np.round(problem.weights * 4) / 4,
        biases=np.round(problem.biases * 16) / 16,
    )
    far = replace(near, biases=(near.biases + offset).astype(near.biases.dtype))
    computed = compute(cuda, device, far, d_loss, dtype, [20]).arrays()
    truth = compute(cuda, device, near, d_loss, dtype, [20]).arrays()
    for name, values in computed.items():
        error = largest_error(values, truth[name].astype(np.float64))
        assert error < 4 * TOLERANCE[dtype] + 1e-15, name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrong", [-1, 50, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
@pytest.mark.parametrize("place", ["label", "id"])
def test_out_of_range_is_nan_and_has_no_gradient(cuda, device, arch, place, wrong, dtype):
    """And reads nothing outside of a table, which the sanitizers watch."""
    problem, d_loss = exact_problem(dtype=dtype, dim=20)
    ids, labels, bad = np.arange(40), problem.labels.copy(), [0, 7]
    if place == "label":
        labels[bad] = wrong
    else:
        ids[bad] = wrong
    wrong_problem = replace(problem, labels=labels)
    computed = compute(cuda, device, wrong_problem, d_loss, dtype, [20, 20], ids=ids)
    good = np.setdiff1d(np.arange(40), bad)
    assert np.isnan(computed.loss[bad]).all() and not computed.gradients.d_hidden[bad].any()
    without = replace(problem, hidden=problem.hidden[good], labels=problem.labels[good])
    compare(
        Computed(
            computed.loss[good],
            replace(computed.gradients, d_hidden=computed.gradients.d_hidden[good]),
        ),
        without,
        d_loss[good],
        dtype,
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_empty_batch(cuda, device, arch, dtype):
    problem, d_loss = exact_problem(dtype=dtype, batch=0, dim=20)
    computed = compute(cuda, device, problem, d_loss, dtype, [20])
    assert computed.loss.shape == (0,) and computed.gradients.d_hidden.shape == (0, 20)
    assert not computed.gradients.d_weights.any() and not computed.gradients.d_biases.any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_whole_as_one_part_is_the_whole(cuda, device, arch, dtype):
    """The same bits of gradients, given the normalizer of the whole."""
    problem, d_loss = exact_problem(dtype=dtype, batch=140, classes=140, dim=20)
    whole = Call(cuda, device, problem, dtype)
    whole.forward()
    part = make_part(cuda, device, problem, dtype, 0, 140).call
    part.max, part.log_sum = whole.max, whole.log_sum
    for ours, theirs in zip(part.gradients(d_loss), whole.gradients(d_loss), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bits_in_every_order(cuda, device, arch, dtype, monkeypatch):
    problem, d_loss = exact_problem(
        dtype=dtype, batch=140, classes=270, dim=20, label_smoothing=0.1
    )
    once = compute(cuda, device, problem, d_loss, dtype, [130]).arrays()
    for order in ("forward", "1"):
        if device.emulated:
            monkeypatch.setenv("FASTW2V_EMULATED_ORDER", order)
        again = compute(cuda, device, problem, d_loss, dtype, [130]).arrays()
        for name, values in once.items():
            assert values.tobytes() == again[name].tobytes(), name


@pytest.mark.parametrize("sums", [np.float32, np.float64])
def test_what_cannot_be_joined_is_nan(cuda, device, sums):
    statistics = np.zeros((2, 4, 3), sums)
    statistics[:, 1] = 1  # sums of exponentials
    options = {"ignore_label": IGNORED}
    labels = np.array([[1, 2], [1, 5], [IGNORED, IGNORED]])
    loss, largest, log_sum = join(cuda, device, statistics, [2, 3], labels, **options)
    assert loss[0] == log_sum[0] == pytest.approx(np.log(2))
    assert np.isnan(loss[1]) and largest[1] == log_sum[1] == 0
    assert loss[2] == largest[2] == log_sum[2] == 0
    loss, _, _ = join(cuda, device, statistics, [-2, 9], labels, **options)
    assert np.isnan(loss[:2]).all() and loss[2] == 0


def test_wrong_numbers_are_named(cuda, device):
    problem, _ = exact_problem(dtype="float32", classes=50, dim=4)
    with pytest.raises(ValueError, match=r"first_class = 31 is not in \[0, 30\]"):
        Call(
            cuda,
            device,
            replace(problem, weights=problem.weights[:20], biases=problem.biases[:20]),
            "float32",
            first_class=31,
            part_of=50,
        )
    statistics = np.zeros((2, 4, 40), np.float32)
    with pytest.raises(ValueError, match="label_smoothing = 1 is not in"):
        join(cuda, device, statistics, [20, 30], problem.labels, label_smoothing=1)
    with pytest.raises(ValueError, match="num_true = 0"):
        join(cuda, device, statistics, [20, 30], problem.labels[:, :0])
