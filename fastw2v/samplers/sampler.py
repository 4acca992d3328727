"""The samplers: how each is made, and asked for candidates."""

from __future__ import annotations

import contextlib
import functools
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from fastw2v._core import tensorflow_ops
from fastw2v._core.arguments import to_counts, to_integer, to_integers, to_seed_pair
from fastw2v._core.library import ops as _ops
from fastw2v.samplers import composed

tf.no_gradient("Fastw2v>UnigramTable")
tf.no_gradient("Fastw2v>CandidateSampler")

_MAX_CLASSES = 2**53  # the core computes classes in double precision


class SampledValues(NamedTuple):
    """Candidates and how often each class is expected among them.

    The triple that ``tf.random.log_uniform_candidate_sampler`` and its relatives return.

    Attributes:
        sampled_candidates: int64 ``[num_sampled]``, or ``[batch, num_sampled]`` per example.
        true_expected_count: float32 ``[batch, num_true]``, how often each true class is expected
            in its list of candidates.
        sampled_expected_count: float32, the same for each candidate, in the shape of
            ``sampled_candidates``.
    """

    sampled_candidates: tf.Tensor
    true_expected_count: tf.Tensor
    sampled_expected_count: tf.Tensor


class Sampler:
    """What the samplers have in common; make a `Uniform`, a `LogUniform` or a `Unigram`.

    Attributes:
        num_classes: Number of classes V; candidates are in ``[0, V)``.
        unique: Whether the candidates of a list are all different.
    """

    _name: str
    _table: Sequence[tf.Tensor] = ()

    def __init__(self, num_classes: int, unique: bool = True) -> None:
        self.num_classes = to_integer("num_classes", num_classes, 1, _MAX_CLASSES)
        self.unique = bool(unique)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_classes={self.num_classes}, unique={self.unique})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same sampler again, for Keras."""
        return {"num_classes": self.num_classes, "unique": self.unique}

    def _drawable(self) -> int:
        """How many classes can be drawn."""
        return self.num_classes

    def check_number(self, num_sampled: int) -> None:
        """A ValueError where there are not ``num_sampled`` different classes to be drawn."""
        drawable = self._drawable() if self.unique else num_sampled
        if num_sampled > drawable:
            raise ValueError(
                f"num_sampled = {num_sampled} is not in [1, {drawable}], the classes that {self!r} "
                "can draw without repeats: draw fewer, or give a sampler with unique=False"
            )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sampler:
        """The sampler of a `get_config`."""
        return cls(**config)

    def sample(
        self,
        true_classes: Any,
        num_sampled: int,
        seed: Any = None,
        per_example: bool = False,
    ) -> SampledValues:
        """Draws candidates.

        With ``unique``, draws that repeat an earlier one of the same list are skipped, and the
        expected counts are the probabilities ``1 - (1 - p(k))^num_tries`` that class ``k`` is in
        the list, where ``num_tries`` is the number of draws, repeats included. Otherwise, and where
        no draw was a repeat, they are ``p(k) * num_sampled``. Nothing here is differentiable.

        Args:
            true_classes: Integers ``[batch, num_true]`` in ``[0, num_classes)``. They are not
                kept out of the candidates; they are here for ``true_expected_count``.
            num_sampled: Candidates in a list, at least 1; with ``unique`` at most the number of
                classes that can be drawn.
            seed: ``None`` draws anew at each call and obeys ``tf.random.set_seed``. An integer
                works as in ``tf.random.uniform(seed=...)``: calls differ, and their sequence is
                decided by it and by ``tf.random.set_seed``. A pair of integers, as a tensor
                ``[2]``, a list or a tuple, decides the draw: the same pair, the same candidates.
            per_example: Draws a list for each example in place of one for the whole batch. List 0
                is the one that the whole batch would have.

        Returns:
            A `SampledValues`.

        Raises:
            ValueError: ``num_sampled`` or ``seed`` is none of the above, or ``true_classes`` is
                not a matrix of integers.
            tf.errors.InvalidArgumentError: A true class is out of range, or ``unique`` and
                ``num_sampled`` exceeds the classes that can be drawn.
            tf.errors.ResourceExhaustedError: ``unique``, and so few classes have nearly all the
                probability that ``num_sampled`` different ones are not found in
                ``2**20 + 1024 * num_sampled`` draws.

        Example:
            >>> import fastw2v
            >>> sampler = fastw2v.samplers.Uniform(num_classes=1000)
            >>> values = sampler.sample([[3], [7]], num_sampled=5, seed=(1, 2))
            >>> values.sampled_candidates.shape, values.true_expected_count.numpy().tolist()
            (TensorShape([5]), [[0.004999999888241291], [0.004999999888241291]])

        Source: Jean, Cho, Memisevic and Bengio, "On Using Very Large Target Vocabulary for Neural
        Machine Translation", ACL 2015, section 3; expected counts as TensorFlow's samplers have
        them.
        """
        arguments = {
            "true_classes": to_integers("true_classes", true_classes, [None, None]),
            "seed": to_seed_pair(seed),
            "table": list(self._table),
            "sampler": self._name,
            "num_sampled": to_integer("num_sampled", num_sampled, 1, _MAX_CLASSES),
            "range_max": self.num_classes,
            "unique": self.unique,
            "per_example": bool(per_example),
        }
        composes = tensorflow_ops.only()
        draw = composed.candidate_sampler if composes else _ops.fastw2v_candidate_sampler
        return SampledValues(*draw(**arguments))


class Uniform(Sampler):
    """Draws every class with the same probability ``1 / num_classes``.

    Args:
        num_classes: Number of classes, at least 1.
        unique: Whether the candidates of a list are all different.

    Raises:
        ValueError: ``num_classes`` is not an integer in ``[1, 2**53]``.

    Example:
        >>> import fastw2v
        >>> values = fastw2v.samplers.Uniform(4).sample([[0]], num_sampled=4, seed=(1, 2))
        >>> sorted(values.sampled_candidates.numpy().tolist())
        [0, 1, 2, 3]
    """

    _name = "uniform"


class LogUniform(Sampler):
    """Draws class ``k`` with probability ``log((k + 2) / (k + 1)) / log(num_classes + 1)``.

    Approximately Zipf's law, for classes sorted by falling frequency, as words of a vocabulary
    usually are. The distribution of ``tf.random.log_uniform_candidate_sampler``.

    Args:
        num_classes: Number of classes, at least 1.
        unique: Whether the candidates of a list are all different.

    Raises:
        ValueError: ``num_classes`` is not an integer in ``[1, 2**53]``.

    Example:
        >>> import fastw2v
        >>> sampler = fastw2v.samplers.LogUniform(3, unique=False)
        >>> sampler.sample([[0, 1, 2]], num_sampled=1).true_expected_count.numpy().round(4).tolist()
        [[0.5, 0.29249998927116394, 0.20749999582767487]]
    """

    _name = "log_uniform"


class Unigram(Sampler):
    """Draws class ``k`` with probability ``counts[k]**power / sum(counts**power)``.

    A class whose count is 0 is never drawn, whatever the power. The alias table and the counts
    take 32 bytes a class; it is built here, once: a change of `counts` afterwards has no effect.

    Args:
        counts: How often each class occurs, ``[num_classes]``: integers or floats, finite and not
            negative, at least one above 0. Read as float64.
        power: Finite. 0.75 is word2vec's (gensim's ``ns_exponent``); 1 keeps the distribution of
            the counts, 0 makes it uniform over the classes that occur.
        unique: Whether the candidates of a list are all different.

    Raises:
        ValueError: `counts` is not a vector of at least one number, or `power` is not a number.
        tf.errors.InvalidArgumentError: A count is NaN, infinite or negative, all are 0, or
            `power` is not finite.

    Example:
        >>> import fastw2v
        >>> sampler = fastw2v.samplers.Unigram([1, 16, 81], unique=False)
        >>> sampler.sample([[0, 1, 2]], num_sampled=36).true_expected_count.numpy().tolist()
        [[1.0, 8.0, 27.0]]

    Source: Mikolov, Sutskever, Chen, Corrado and Dean, "Distributed Representations of Words and
    Phrases and their Compositionality", NIPS 2013, section 2.2; Vose, "A linear algorithm for
    generating random numbers with a given distribution", 1991.
    """

    _name = "unigram"

    def __init__(self, counts: Any, power: float = 0.75, unique: bool = True) -> None:
        try:
            self.power = float(power)
        except (TypeError, ValueError) as error:
            raise ValueError(f"power = {reprlib.repr(power)} is not a number") from error
        # A sampler made while a tf.function is traced may outlive the trace; so must its table.
        symbolic = tf.is_symbolic_tensor(counts)
        if symbolic and tensorflow_ops.only():
            raise ValueError(
                "counts is computed in a function that holds TensorFlow's own ops only, which "
                "cannot build the alias table: make the sampler outside of the function"
            )
        with contextlib.nullcontext() if symbolic else tf.init_scope():
            counts = to_counts(counts)
            self._table = _ops.fastw2v_unigram_table(counts=counts, power=self.power)
        self._counts = counts
        super().__init__(counts.shape[0], unique)

    def __repr__(self) -> str:
        return f"Unigram(num_classes={self.num_classes}, power={self.power}, unique={self.unique})"

    def _drawable(self) -> int:
        if tf.is_symbolic_tensor(self._counts):
            return self.num_classes
        return int(tf.math.count_nonzero(self._counts))

    def get_config(self) -> dict[str, Any]:
        counts = self._counts.numpy().tolist()
        return {"counts": counts, "power": self.power, "unique": self.unique}


_BY_NAME = {"uniform": Uniform, "log_uniform": LogUniform}


@functools.lru_cache
def _by_name(name: str, num_classes: int, unique: bool) -> Sampler:
    return _BY_NAME[name](num_classes, unique)


def resolve(sampler: str | Sampler, num_classes: int, unique: bool = True) -> Sampler:
    """Returns the sampler that an argument of a loss stands for.

    Args:
        sampler: ``"uniform"``, ``"log_uniform"`` or a `Sampler`.
        num_classes: Number of classes that are sampled from: the rows of the loss's weights.
        unique: Whether the candidates of a list are all different, where a name is given; a
            `Sampler` has its own.

    Returns:
        `sampler` itself, or a new sampler of that name.

    Raises:
        ValueError: The name is unknown, or the sampler's ``num_classes`` is another.

    Example:
        >>> import fastw2v
        >>> fastw2v.samplers.resolve("log_uniform", num_classes=10)
        LogUniform(num_classes=10, unique=True)
    """
    if isinstance(sampler, Sampler):
        if sampler.num_classes != num_classes:
            raise ValueError(
                f"sampler has num_classes = {sampler.num_classes}; the table of weights has "
                f"{num_classes} classes"
            )
        return sampler
    if isinstance(sampler, str) and sampler in _BY_NAME:
        return _by_name(sampler, num_classes, unique)
    if sampler == "unigram":
        raise ValueError(
            'sampler = "unigram" needs the counts of the classes: give '
            "fastw2v.samplers.Unigram(counts)"
        )
    allowed = ", ".join(f'"{name}"' for name in _BY_NAME)
    raise ValueError(
        f"sampler = {reprlib.repr(sampler)} is not one of {allowed}, nor a sampler such as "
        "fastw2v.samplers.Unigram(counts)"
    )
