"""Trainings on small texts at random settings: vectors are finite and not too long."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastw2v
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 60.0, 1024.0
_LONGEST = 1000.0
_TRAINED_WORDS = 5_000  # words times passes, and fewer where each costs more


def case(case: Case) -> None:
    settings = _settings(case)
    cost = settings["window"] * max(settings["negative"], 1) / 25
    text = _text(case, most=max(200, int(_TRAINED_WORDS / settings["epochs"] / max(cost, 1))))
    described = f"{len({word for line in text for word in line})} words"
    train = fastw2v.Word2Vec
    if "loss" not in settings and case.chance(0.3):
        train = fastw2v.FastText
        settings.update(min_n=case.size(4), max_n=case.size(6), bucket=case.one_of(0, 1, 50, 5000))
    described = f"{train.__name__}, {described}, {settings}"
    try:
        model = train(text, **settings)
    except ValueError as error:
        # Subsampling may leave nothing; nothing else is wrong with these texts.
        if settings["sample"] and "sample = 0" in str(error):
            return
        # Of a sum of a hundred vectors, the step of a single example may overshoot: an error.
        if "loss" in settings and not settings["cbow_mean"] and "diverges" in str(error):
            return
        raise Fault(f"{error} ({described})") from error
    for name in ("embeddings", "weights"):
        longest = float(np.max(np.linalg.norm(getattr(model, name).numpy(), axis=1)))
        if not longest < _LONGEST:  # NaN is not
            raise Fault(f"the longest vector of {name} has length {longest:.3g} ({described})")


def _settings(case: Case) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "vector_size": case.one_of(1, 16, 100),
        "min_count": 1,
        "window": case.one_of(1, 2, 5, 20, 100),
        "sg": case.one_of(0, 1),
        "hs": case.one_of(0, 0, 1),
        "alpha": case.one_of(0.025, 0.05, 0.1),
        "sample": case.one_of(0, 0, 1e-3),
        "epochs": case.size(20),
        "seed": case.size(1000),
        "cbow_mean": case.one_of(1, 1, 0),
        "ns_exponent": case.one_of(0.75, 0.75, 0.0, 1.0, -0.5),
        "deterministic": case.chance(0.4),
        "shrink_windows": case.chance(0.7),
    }
    settings["negative"] = 0 if settings["hs"] else case.one_of(1, 5, 15, 20)
    if settings["hs"] == 0 and case.chance(0.1):
        settings.update(loss="softmax", epochs=1)
    return settings


def _text(case: Case, most: int) -> list[list[str]]:
    """Sentences of at least two words, of few or many words, equally frequent or not."""
    num_words = case.one_of(2, 3, 10, 40, 300, 900)
    likely = (1.0 + np.arange(num_words)) ** -case.one_of(0.0, 0.0, 1.0, 2.0)
    if case.chance(0.2):  # one word is in every sentence
        likely[0] = likely.sum()
    ids = case.rng.choice(num_words, size=case.size(most, 40), p=likely / likely.sum())
    if case.chance(0.2):  # a walk on a ring of nodes
        ids = np.cumsum(case.rng.choice([-1, 1], ids.size)) % num_words
    ids[:2] = 0, 1
    length = max(2, min(case.size(200), ids.size // 2))
    words = [f"w{number}" for number in ids]
    lines = [words[at : at + length] for at in range(0, len(words), length)]
    return [line for line in lines if len(line) > 1]
