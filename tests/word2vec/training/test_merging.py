"""How the changes of several workers become one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from fastw2v.word2vec.training import merging
from fastw2v.word2vec.training.merging import Merging, merged_change, rows_to_merge


def sums(changes):
    """[workers, rows, D] -> [rows, D + 1], as an all-reduce gives it."""
    changes = np.asarray(changes, np.float64)
    return np.concatenate([changes, (changes**2).sum(-1, keepdims=True)], axis=-1).sum(0)


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
        ([[1, 1], [1, 0]], [2 * 3 / 5, 3 / 5]),  # (|d_1|^2 + |d_2|^2) / |s|^2 = 3 / 5
    ],
)
def test_a_row(changes, expected):
    got = merged_change(sums([[change] for change in changes]))
    np.testing.assert_allclose(got, [expected], atol=1e-15)


@pytest.mark.parametrize("cosine", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("number", [2, 3, 8])
def test_changes_of_one_length(number, cosine):
    # Lengths and cosines are those of the rows of a square root of this matrix.
    products = np.full([number, number], float(cosine))
    np.fill_diagonal(products, 1)
    lengths, axes = np.linalg.eigh(products)
    changes = axes * np.sqrt(np.maximum(lengths, 0))
    expected = changes.sum(0) / (1 + (number - 1) * cosine)
    got = merged_change(sums(changes[:, np.newaxis]))
    np.testing.assert_allclose(got, [expected], atol=1e-12)


def test_the_order_of_workers_is_of_no_matter():
    changes = np.random.default_rng(2).normal(size=(5, 9, 4))
    changes[1, ::2] = 0
    got = merged_change(sums(changes))
    np.testing.assert_allclose(got, merged_change(sums(changes[::-1])), atol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 1000])
def test_every_row_has_its_turn(rows):
    period = 1 << merging._LEVELS
    turns = [rows_to_merge(rows, time) for time in range(1, 2 * period + 1)]
    assert turns[period - 1] == max(turns) == rows and min(turns) >= 1
    assert turns[:period] == turns[period:]
    # A row in the first half of those that are merged at all twice as often as in the second.
    often = [sum(turn > row for turn in turns) for row in (0, rows // 2, rows - 1)]
    assert often[0] == 2 * period and often[2] >= 2 and often == sorted(often, reverse=True)


@pytest.mark.parametrize("piece_rows", [1 << 16, 7])  # all at once, and not
@pytest.mark.parametrize(("time", "whole"), [(1, False), (2, False), (3, True)])
def test_workers_merge_their_tables(piece_rows, time, whole, monkeypatch):
    monkeypatch.setattr(merging, "_PIECE_ROWS", piece_rows)
    rng = np.random.default_rng(3)
    shapes, are_sorted, workers = [(40, 5), (9, 5)], [True, False], 3
    bases = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    changes = [[rng.normal(size=shape) for shape in shapes] for _ in range(workers)]
    met, barrier = {}, threading.Barrier(workers)

    def work(rank):
        def add_up(*mine):
            met[rank] = [each.copy() for each in mine]
            barrier.wait()
            of_all = [sum(each) for each in zip(*(met[r] for r in range(workers)), strict=True)]
            barrier.wait()
            return of_all

        with tf.device("CPU:0"):
            tables = [tf.Variable(base) for base in bases]
        worker = Merging(add_up, tables, are_sorted)
        for table, change in zip(tables, changes[rank], strict=True):
            table.assign_add(change.astype(np.float32))
        numbers = worker.merge(time, whole, np.array([1.0, rank]))
        return numbers, [table.numpy() for table in tables]

    with ThreadPoolExecutor(workers) as pool:
        merged = list(pool.map(work, range(workers)))
    for rank, (numbers, tables) in enumerate(merged):
        assert numbers.tolist() == [workers, sum(range(workers))]
        for place, table in enumerate(tables):
            of_all = np.array([change[place] for change in changes])
            turn = rows_to_merge(40, time) if are_sorted[place] and not whole else len(table)
            expected = bases[place] + of_all[rank]
            expected[:turn] = (bases[place] + merged_change(sums(of_all)))[:turn]
            np.testing.assert_allclose(table, expected, atol=1e-5)
            assert (table[:turn] == merged[0][1][place][:turn]).all()
