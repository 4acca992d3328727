"""How the changes of several workers become one."""

from __future__ import annotations

import numpy as np
import pytest

from fastw2v.word2vec.training.merging import merged_change, rows_to_merge


def sums(changes):
    """[workers, rows, D] -> [rows, D + 2], as an all-reduce gives it."""
    changes = np.asarray(changes, np.float64)
    squares = (changes**2).sum(-1, keepdims=True)
    parts = np.concatenate([changes, squares, changes.any(-1, keepdims=True)], axis=-1)
    return parts.sum(0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([[1, 2]], [1, 2]),
        ([[1, 2], [0, 0], [0, 0]], [1, 2]),  # one worker met the word
        ([[0, 0], [0, 0]], [0, 0]),
        ([[3, 0], [0, 4]], [3, 4]),  # nothing in common
        ([[3, 0], [-3, 4]], [0, 4]),  # against each other
        ([[1, 2], [1, 2]], [1, 2]),  # the same
        ([[1, 2], [1, 2], [1, 2], [0, 0]], [1, 2]),
        ([[1, 1], [1, 0]], [2 * 2 / 3, 2 / 3]),  # |s|^2 / sum |d|^2 - 1 = 5 / 3 - 1 = 2 / 3
    ],
)
def test_a_row(changes, expected):
    got = merged_change(sums([[change] for change in changes]))
    np.testing.assert_allclose(got, [expected], atol=1e-15)


def test_two_changes_of_one_length_are_merged_as_by_adasum():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 50, 7))
    b *= np.linalg.norm(a, axis=1, keepdims=True) / np.linalg.norm(b, axis=1, keepdims=True)
    b[::2] = a[::2] + 0.1 * b[::2]
    b[::2] *= np.linalg.norm(a[::2], axis=1, keepdims=True) / np.linalg.norm(
        b[::2], axis=1, keepdims=True
    )
    dot = (a * b).sum(1, keepdims=True)
    along = 1 - dot / (2 * (a * a).sum(1, keepdims=True))
    expected = np.where(dot > 0, along * (a + b), a + b)
    np.testing.assert_allclose(merged_change(sums([a, b])), expected, atol=1e-12)


def test_the_order_of_workers_is_of_no_matter():
    changes = np.random.default_rng(2).normal(size=(5, 9, 4))
    changes[1, ::2] = 0
    got = merged_change(sums(changes))
    np.testing.assert_allclose(got, merged_change(sums(changes[::-1])), atol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 1000])
def test_every_row_has_its_turn(rows):
    turns = [rows_to_merge(rows, time) for time in range(1, 17)]
    assert turns[7] == turns[15] == rows and min(turns) >= 1 and max(turns) == rows
    assert turns[:8] == turns[8:]
    # A row in the first half of those that are merged at all twice as often as in the second.
    often = [sum(turn > row for turn in turns) for row in (0, rows // 2, rows - 1)]
    assert often[0] == 16 and often[2] >= 2 and often == sorted(often, reverse=True)
