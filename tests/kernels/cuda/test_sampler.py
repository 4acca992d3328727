"""The samplers of a GPU draw what the core draws."""

from __future__ import annotations

import numpy as np
import pytest

SAMPLERS = ("uniform", "log_uniform", "unigram")


def unigram_table(kernels, range_max):
    counts = 1 / np.arange(1, range_max + 1)
    counts[::7] = 0
    return kernels.unigram_table(counts, 0.75)


def sample(cuda, device, true_classes, seed, sampler, range_max, num_sampled, **arguments):
    """(sampled, true_expected_count, sampled_expected_count, num_tries) from the device."""
    put, table = device.to_device, arguments.pop("table", None)
    if table is not None:
        table = (*map(put, table[:3]), table[3])
    call = cuda.Sampler(
        put(true_classes), sampler, range_max, num_sampled, table=table, **arguments
    )
    per_example = arguments.get("per_example", False)
    batch = len(true_classes)
    shape = (batch, num_sampled) if per_example else (num_sampled,)
    results = [
        device.empty(shape, np.int64),
        device.empty(true_classes.shape, np.float32),
        device.empty(shape, np.float32),
        device.empty(batch if per_example else 1, np.int64),
    ]
    call.sample(seed, *results, device.scratch(call.scratch_bytes()))
    return [device.to_host(result) for result in results]


# (range_max, num_sampled) and why. A table of up to 64 KB is in shared memory; blocks have from 32
# to 1024 threads.
SIZES = {
    "one of all": (1, 1),
    "half of few": (20, 10),
    "nearly all": (40, 34),
    "many draws of a thread": (5000, 300),
    "many classes": (1 << 40, 40),
    "a table in global memory": (100_000, 2500),
}


# (size, sampler, per_example, unique): the large ones only where they differ.
CASES = [
    (size, sampler, per_example, unique)
    for size, (range_max, _) in SIZES.items()
    for sampler in SAMPLERS
    for per_example in (False, True)
    for unique in (False, True)
    if not (sampler == "unigram" and not 1 < range_max < 1 << 30)
    and not (size == "a table in global memory" and (per_example or not unique))
]


@pytest.mark.parametrize(("size", "sampler", "per_example", "unique"), CASES)
def test_draws_are_those_of_the_core(kernels, cuda, device, size, sampler, per_example, unique):
    range_max, num_sampled = SIZES[size]
    arguments = {"unique": unique, "per_example": per_example}
    if sampler == "unigram":
        arguments["table"] = unigram_table(kernels, range_max)
    true_classes = np.random.default_rng(0).integers(range_max, size=(3, 2))
    for seed in ([0, 0], [5, -1 << 60]):
        call = (true_classes, seed, sampler, range_max, num_sampled)
        ours = sample(cuda, device, *call, **arguments)
        core = kernels.sample_candidates(*call, **arguments)
        if sampler == "log_uniform" and not device.emulated:
            # exp of two machines: a draw next to an integer may be its neighbor.
            assert np.mean(ours[0] != core[0]) <= 1e-3
        else:
            np.testing.assert_array_equal(ours[0], core[0])
            np.testing.assert_array_equal(ours[3], core[3])
        for counts, expected in zip(ours[1:3], core[1:3], strict=True):
            np.testing.assert_allclose(counts, expected, rtol=1e-6)


def test_a_class_out_of_range_has_no_expected_count(cuda, device):
    true_classes = np.array([[0], [10], [-1]])
    counts = sample(cuda, device, true_classes, [1, 2], "uniform", 10, 4)[1]
    np.testing.assert_array_equal(np.isnan(counts[:, 0]), [False, True, True])


def test_an_empty_batch_draws_the_shared_list(kernels, cuda, device):
    call = (np.zeros((0, 1), np.int64), [1, 2], "log_uniform", 1000, 8)
    ours, core = sample(cuda, device, *call), kernels.sample_candidates(*call)
    np.testing.assert_array_equal(ours[0], core[0])
    assert sample(cuda, device, *call, per_example=True)[0].shape == (0, 8)


def test_what_cannot_be_is_refused(cuda, device):
    with pytest.raises(ValueError, match="num_sampled = 11 is not in"):
        sample(cuda, device, np.zeros((1, 1), np.int64), [0, 0], "uniform", 10, 11)
