"""Skip-gram pairs and CBOW bags of a GPU: those of the core, padded."""

from __future__ import annotations

import numpy as np
import pytest
from kernels.skipgram_definition import SMALL
from kernels.test_skipgram import OPTIONS, SEED

UNSHUFFLED = {name: options for name, options in OPTIONS.items() if "shuffle" not in options}


class Call:
    """A text on the device."""

    def __init__(self, cuda, device, ids, window, **arguments):
        def put(array):
            return None if array is None else device.to_device(np.asarray(array))

        arrays = {
            name: put(arguments.pop(name, None)) for name in ("row_splits", "keep_probability")
        }
        self.device, self.window = device, window
        self.examples = cuda.SkipGrams(
            device.to_device(np.asarray(ids, np.int64)), window, **arrays, **arguments
        )

    def _fill(self, fill, first_shape, capacity):
        empty = self.device.empty
        results = empty(first_shape, np.int64), empty(capacity, np.int64), empty(1, np.int64)
        fill(*results, self.device.scratch(self.examples.scratch_bytes()))
        first, second, count = map(self.device.to_host, results)
        return first, second, int(count[0])

    def pairs(self, capacity):
        return self._fill(self.examples.fill_pairs, capacity, capacity)

    def bags(self, capacity):
        return self._fill(self.examples.fill_bags, (capacity, 2 * self.window), capacity)


def check(found, expected, capacity):
    """`expected` is what the core returns, of which the first that fit are there."""
    *arrays, count = found
    assert count == len(expected[0])
    fits = min(count, capacity)
    for array, whole in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array[:fits], whole[:fits])
        np.testing.assert_array_equal(array[fits:], -1)


@pytest.mark.parametrize("window", [1, 100])
@pytest.mark.parametrize("text", SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("options", UNSHUFFLED.values(), ids=UNSHUFFLED)
def test_small_texts(kernels, cuda, device, text, window, options):
    arguments = {"row_splits": text.row_splits, "seed": SEED} | options
    call = Call(cuda, device, text.ids, window, **arguments)
    pairs = kernels.skip_grams(text.ids, window, **arguments)
    bags = kernels.cbow_bags(text.ids, window, **arguments)
    for spare in (0, 7, -1):
        capacity = max(0, len(pairs[0]) + spare)
        check(call.pairs(capacity), pairs, capacity)
        capacity = max(0, len(bags[0]) + spare)
        check(call.bags(capacity), bags, capacity)


def test_a_longer_text(kernels, cuda, device):
    rng = np.random.default_rng(4)
    ids = rng.integers(-1, 50, size=3000)
    arguments = {"seed": SEED, "keep_probability": np.linspace(0, 1, 50, dtype=np.float32)}
    pairs = kernels.skip_grams(ids, 5, **arguments)
    check(Call(cuda, device, ids, 5, **arguments).pairs(20_000), pairs, 20_000)


def test_words_without_a_count_end_their_sentence(cuda, device):
    keep = np.ones(4, np.float32)
    call = Call(cuda, device, [0, 1, 4, 2, 1 << 40, 3], 2, keep_probability=keep)
    centers, contexts, count = call.pairs(3)
    assert count == 2
    np.testing.assert_array_equal(centers, [0, 1, -1])
    np.testing.assert_array_equal(contexts, [1, 0, -1])


@pytest.mark.parametrize("splits", [[0, 9, 3], [-4, 1 << 40], [5, 5, 5], [0]])
def test_row_splits_that_are_none_read_nothing_outside(cuda, device, splits):
    call = Call(cuda, device, [0, 1, 2, 3], 2, row_splits=np.array(splits))
    centers, contexts, _ = call.pairs(30)
    assert np.all((centers >= -1) & (centers < 4) & (contexts >= -1) & (contexts < 4))


REFUSED = {
    "no window": ({"window": 0}, "window = 0 is not in"),
    "shuffled": ({"shuffle": True}, "shuffle = True is not offered on a GPU"),
    "no rows": ({"row_splits": np.zeros(0, np.int64)}, "row_splits is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(cuda, device, case):
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        Call(cuda, device, [1, 2], **({"window": 1} | arguments))
