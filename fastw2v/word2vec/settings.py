"""What decides how word vectors are trained, under gensim's names."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastw2v._arguments import check_one_of, to_integer, to_number

NEGATIVE_SAMPLING = "negative sampling"
HIERARCHICAL_SOFTMAX = "hierarchical softmax"
SAMPLED_SOFTMAX = "sampled_softmax"
SOFTMAX = "softmax"


@dataclass(frozen=True)
class Settings:
    """The arguments of `fastw2v.Word2Vec`, checked.

    Raises:
        ValueError: An argument is out of its range, or two contradict each other.
    """

    vector_size: int = 100
    window: int = 5
    min_count: int = 5
    sg: int = 1
    hs: int = 0
    negative: int = 5
    ns_exponent: float = 0.75
    sample: float = 1e-3
    alpha: float = 0.025
    min_alpha: float = 1e-4
    epochs: int = 5
    seed: int = 1
    cbow_mean: int = 1
    max_vocab_size: int | None = None
    max_final_vocab: int | None = None
    shrink_windows: bool = True
    loss: str | None = None
    num_sampled: int = 64
    batch_size: int = 1024
    deterministic: bool = False
    tokenizer: str = "whitespace"

    def __post_init__(self) -> None:
        for name in ("vector_size", "window", "min_count", "epochs", "num_sampled", "batch_size"):
            self._set(name, to_integer(name, getattr(self, name), 1, 2**31 - 1))
        for name in ("max_vocab_size", "max_final_vocab"):
            if getattr(self, name) is not None:
                self._set(name, to_integer(name, getattr(self, name), 1))
        for name in ("sg", "hs", "cbow_mean"):
            value = getattr(self, name)
            value = int(value) if isinstance(value, bool) else value
            self._set(name, to_integer(name, value, 0, 1))
        self._set("negative", to_integer("negative", self.negative, 0, 2**31 - 1))
        self._set("seed", to_integer("seed", self.seed, 0))
        for name, low, high in (
            ("ns_exponent", -math.inf, math.inf),
            ("sample", 0.0, 1.0),
            ("alpha", 0.0, math.inf),
            ("min_alpha", 0.0, math.inf),
        ):
            to_number(name, getattr(self, name), low, high)
            self._set(name, float(getattr(self, name)))
        for name in ("shrink_windows", "deterministic"):
            self._set(name, bool(getattr(self, name)))
        check_one_of("tokenizer", self.tokenizer, ("whitespace", "words"))
        if self.loss is not None:
            check_one_of("loss", self.loss, (SAMPLED_SOFTMAX, SOFTMAX))
            if self.hs:
                raise ValueError(f'hs = 1 and loss = "{self.loss}": one loss is trained at a time')
        elif self.hs and self.negative:
            raise ValueError(
                f"hs = 1 and negative = {self.negative}: one loss is trained at a time; with hs "
                "= 1 negative must be 0"
            )
        elif not self.hs and not self.negative:
            raise ValueError(
                "negative = 0 leaves nothing to train with: give negative of at least 1, hs = 1 or "
                "a loss"
            )

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def objective(self) -> str:
        """What is trained: one of the names at the top of this file."""
        if self.loss is not None:
            return self.loss
        return HIERARCHICAL_SOFTMAX if self.hs else NEGATIVE_SAMPLING
