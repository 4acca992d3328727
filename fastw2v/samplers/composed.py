"""``Fastw2v>CandidateSampler`` from TensorFlow ops that XLA compiles: the same candidates from the
same seeds, and the same counts within the rounding of float32.

``csrc/core/sampler.h`` and ``csrc/core/random.h`` define both. What is double precision there is
so here, but XLA's exponential function may differ in its last bits, and then a draw next to the
border of two log-uniform classes becomes the other one: none of 10^8 draws from 10^6 classes did,
and one of 5 * 10^7 from 2^31. In the same way two neighbors of a race may change places.

Lists are [lists, num_sampled], one list for the whole batch or one for each example. Nothing can
raise an error here: a list that cannot be filled is -1 with counts of NaN, and so is the count of a
true class out of range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf


def candidate_sampler(
    true_classes: tf.Tensor,
    seed: tf.Tensor,
    table: Sequence[tf.Tensor],
    sampler: str,
    num_sampled: int,
    range_max: int,
    unique: bool,
    per_example: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The outputs of the op, from its arguments."""
    distribution = _DISTRIBUTIONS[sampler](range_max, *table)
    num_lists = tf.shape(true_classes, tf.int64)[0] if per_example else tf.constant(1, tf.int64)
    stream = _Stream.of(seed, num_lists)
    if unique:
        _check_size(num_sampled, range_max, table)
        sampled, num_tries = _unique_lists(distribution, stream, num_lists, num_sampled)
    else:
        index = tf.range(num_sampled, dtype=tf.int64)[tf.newaxis]
        sampled = distribution.draw(stream.blocks(index))
        num_tries = tf.fill([num_lists, 1], tf.constant(num_sampled, tf.int64))

    def counts(classes: tf.Tensor) -> tf.Tensor:
        p = distribution.probability(tf.clip_by_value(classes, 0, range_max - 1))
        tries = tf.cast(num_tries, tf.float64)
        count = tf.where(
            num_tries == num_sampled, p * tries, -tf.math.expm1(tries * tf.math.log1p(-p))
        )
        met = (num_tries > 0) & (classes >= 0) & (classes < range_max)
        return tf.where(met, tf.cast(count, tf.float32), math.nan)

    shape = [-1, num_sampled] if per_example else [num_sampled]
    sampled_counts = tf.reshape(counts(sampled), shape)
    return tf.reshape(sampled, shape), counts(true_classes), sampled_counts


def _check_size(num_sampled: int, range_max: int, table: Sequence[tf.Tensor]) -> None:
    support = tf.get_static_value(table[3]) if table else range_max
    if support is not None and num_sampled > support:
        raise tf.errors.InvalidArgumentError(
            None,
            None,
            f"num_sampled = {num_sampled} is not in [1, {support}]: a unique sampler draws each "
            f"class at most once, and only {support} of the {range_max} classes can be drawn",
        )


# ---- Random numbers: words of 32 bits, each in a uint64 ------------------------------------------


def _philox(counter: Sequence[tf.Tensor], key: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Blocks of four random words that belong to counters of four and keys of two."""
    word0, word1, word2, word3 = counter
    multiplier0, multiplier1 = _word(0xD2511F53), _word(0xCD9E8D57)
    keys = [
        tf.unstack(_low(word[..., tf.newaxis] + [weyl * turn for turn in range(10)]), axis=-1)
        for word, weyl in zip(key, (0x9E3779B9, 0xBB67AE85), strict=True)
    ]
    for key0, key1 in zip(*keys, strict=True):
        product0, product1 = multiplier0 * word0, multiplier1 * word2
        word0 = _high(product1) ^ word1 ^ key0
        word2 = _high(product0) ^ word3 ^ key1
        word1, word3 = _low(product1), _low(product0)
    return [word0, word1, word2, word3]


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _high(bits: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.right_shift(bits, _word(32))


def _low(bits: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(bits, _word(0xFFFFFFFF))


def _words(integers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Low and high word of an int64."""
    bits = tf.cast(integers, tf.uint64)
    return _low(bits), _high(bits)


@dataclass(frozen=True)
class _Stream:
    """The random streams of all lists: key and upper half of the counter, each word [lists, 1]."""

    key: list[tf.Tensor]
    counter: list[tf.Tensor]

    @classmethod
    def of(cls, seed: tf.Tensor, num_lists: tf.Tensor) -> _Stream:
        of_list = _words(tf.range(num_lists)[:, tf.newaxis])
        mixed = _philox([*_words(seed[1]), *of_list], _words(seed[0]))
        return cls(mixed[:2], mixed[2:])

    def blocks(self, index: tf.Tensor) -> list[tf.Tensor]:
        """The random bits of draws ``index`` [lists, n], or [1, n] for the same of all lists."""
        return _philox([*_words(index), *self.counter], self.key)


def _uniform_real(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """In [0, 1), a multiple of 2^-53."""
    bits = high * _word(2**21) + tf.bitwise.right_shift(low, _word(11))
    return tf.cast(tf.cast(bits, tf.int64), tf.float64) * 2.0**-53


def _uniform_integer(low: tf.Tensor, high: tf.Tensor, limit: int) -> tf.Tensor:
    """An integer in [0, limit): the upper half of the product of 64 random bits with it."""
    limit_high, limit_low = (_word(part) for part in divmod(limit, 2**32))
    middle = high * limit_low + _high(low * limit_low)
    low_high = low * limit_high
    carry = _high(_low(middle) + _low(low_high))
    return tf.cast(high * limit_high + _high(middle) + _high(low_high) + carry, tf.int64)


# ---- Distributions: a draw from a block of random bits, and the probability of a class -----------


class _Uniform:
    def __init__(self, range_max: int) -> None:
        self.range_max = range_max

    def draw(self, bits: Sequence[tf.Tensor]) -> tf.Tensor:
        return _uniform_integer(bits[0], bits[1], self.range_max)

    def probability(self, classes: tf.Tensor) -> tf.Tensor:
        return tf.fill(tf.shape(classes), tf.constant(1 / self.range_max, tf.float64))


class _LogUniform:
    def __init__(self, range_max: int) -> None:
        self.range_max = range_max
        self._log_range = math.log1p(range_max)

    def draw(self, bits: Sequence[tf.Tensor]) -> tf.Tensor:
        value = tf.exp(_uniform_real(bits[0], bits[1]) * self._log_range)
        return tf.minimum(tf.cast(value, tf.int64) - 1, self.range_max - 1)

    def probability(self, classes: tf.Tensor) -> tf.Tensor:
        return tf.math.log1p(1 / (tf.cast(classes, tf.float64) + 1)) / self._log_range


class _Unigram:
    def __init__(
        self,
        range_max: int,
        probability: tf.Tensor,
        acceptance: tf.Tensor,
        alias: tf.Tensor,
        support: tf.Tensor,
    ) -> None:
        self.range_max = range_max
        self._probability, self._acceptance, self._alias = probability, acceptance, alias

    def draw(self, bits: Sequence[tf.Tensor]) -> tf.Tensor:
        column = _uniform_integer(bits[0], bits[1], self.range_max)
        keeps = _uniform_real(bits[2], bits[3]) < tf.gather(self._acceptance, column)
        return tf.where(keeps, column, tf.gather(self._alias, column))

    def probability(self, classes: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._probability, classes)


_DISTRIBUTIONS = {"uniform": _Uniform, "log_uniform": _LogUniform, "unigram": _Unigram}
_Distribution = _Uniform | _LogUniform | _Unigram


# ---- Lists without repeats -----------------------------------------------------------------------


def _unique_lists(
    distribution: _Distribution, stream: _Stream, num_lists: tf.Tensor, num_sampled: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The lists [lists, num_sampled], and how many draws each took, [lists, 1]; 0: too many."""
    range_max = distribution.range_max
    may_race = num_sampled >= range_max // 4
    max_tries = 2**20 + 1024 * num_sampled
    most = max(2**16, 4 * range_max) if may_race else max_tries
    round_size = 2 * num_sampled + 16  # most lists are full after one

    def unfinished(sampled: tf.Tensor, found: tf.Tensor, tries: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any((found < num_sampled) & (tries < most))

    def search(sampled: tf.Tensor, found: tf.Tensor, tries: tf.Tensor) -> list[tf.Tensor]:
        index = tries + tf.range(round_size, dtype=tf.int64)
        drawn = distribution.draw(stream.blocks(index))
        is_new = _is_first(tf.concat([sampled, drawn], axis=1))[:, num_sampled:] & (index < most)
        found_before = found + tf.cumsum(tf.cast(is_new, tf.int64), axis=1, exclusive=True)
        wanted = found_before < num_sampled
        slot = tf.where(is_new & wanted, found_before, num_sampled)
        used = tf.cast(wanted & (index < most), tf.int64)
        return [
            _place_in_rows(sampled, slot, drawn),
            tf.minimum(found + _count(is_new), num_sampled),
            tries + tf.reduce_sum(used, axis=1, keepdims=True),
        ]

    state = [
        tf.fill([num_lists, num_sampled], tf.constant(range_max, tf.int64)),  # no class
        tf.zeros([num_lists, 1], tf.int64),
        tf.zeros([num_lists, 1], tf.int64),
    ]
    state = tf.while_loop(unfinished, search, state)
    if may_race:
        state = tf.cond(
            tf.reduce_any(state[1] < num_sampled),
            lambda: _finish_by_race(distribution, stream, *state),
            lambda: list(state),
        )
    sampled, found, tries = state
    filled = (found == num_sampled) & (tries <= max_tries)
    return tf.where(filled, sampled, -1), tf.where(filled, tries, 0)


def _finish_by_race(
    distribution: _Distribution,
    stream: _Stream,
    sampled: tf.Tensor,
    found: tf.Tensor,
    tries: tf.Tensor,
) -> list[tf.Tensor]:
    """The rest of the lists without the draws that repeat a class; see ``csrc/cpu/sampler``."""
    num_sampled = sampled.shape[1]
    classes = tf.range(distribution.range_max, dtype=tf.int64)[tf.newaxis]
    shape = [tf.shape(sampled)[0], distribution.range_max]
    p = distribution.probability(classes)
    met = _place_in_rows(tf.zeros(shape, tf.int64), sampled, tf.ones_like(sampled)) > 0
    p = tf.where(met, tf.zeros([], tf.float64), p)
    low0, high0, low1, high1 = stream.blocks(-1 - classes)
    clock = -tf.math.log1p(-_uniform_real(low0, high0)) / p
    clock = tf.where(p > 0, clock, math.inf)
    order = tf.argsort(clock, axis=1, stable=True)
    missing = tf.minimum(
        tf.cumsum(tf.gather(p, order, batch_dims=1), axis=1, reverse=True), tf.ones([], tf.float64)
    )
    waiting = tf.gather(tf.math.log1p(-_uniform_real(low1, high1)), order, batch_dims=1)
    repeats = tf.floor(waiting / tf.math.log1p(-missing))
    runs = classes < num_sampled - found  # the first to arrive
    tries += tf.cast(tf.reduce_sum(tf.where(runs, repeats + 1, 0), axis=1, keepdims=True), tf.int64)
    slot = tf.where(runs, found + classes, num_sampled)
    sampled = _place_in_rows(sampled, slot, tf.cast(order, tf.int64))
    return [sampled, tf.minimum(found + _count(p > 0), num_sampled), tries]


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.int64), axis=1, keepdims=True)


def _is_first(rows: tf.Tensor) -> tf.Tensor:
    """Which numbers are the first of their kind in their row."""
    order = tf.argsort(rows, axis=1, stable=True)
    ascending = tf.gather(rows, order, batch_dims=1)
    changes = ascending[:, 1:] != ascending[:, :-1]
    changes = tf.concat([tf.ones_like(ascending[:, :1], tf.bool), changes], axis=1)
    return tf.gather(changes, tf.argsort(order, axis=1), batch_dims=1)


def _place_in_rows(rows: tf.Tensor, columns: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """``rows`` with ``values`` put into the given columns; one past the end leads nowhere."""
    wide = tf.concat([rows, rows[:, :1]], axis=1)
    number = tf.broadcast_to(tf.range(tf.shape(rows)[0])[:, tf.newaxis], tf.shape(columns))
    where = tf.stack([tf.cast(number, columns.dtype), columns], axis=-1)
    return tf.tensor_scatter_nd_update(wide, where, values)[:, :-1]
