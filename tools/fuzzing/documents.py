"""Documents at random settings: vectors are finite and not too long, and each is inferred alone."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastw2v
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 60.0, 1024.0
_LONGEST = 1000.0
_TRAINED_WORDS = 3_000  # words times passes, and fewer where each costs more


def case(case: Case) -> None:
    settings = _settings(case)
    cost = settings["epochs"] * max(1.0, settings["window"] * max(settings["negative"], 1) / 25)
    documents = _documents(case, most=max(60, int(_TRAINED_WORDS / cost)))
    described = f"{len(documents)} documents, {settings}"
    try:
        model = fastw2v.Doc2Vec(documents, **settings)
    except ValueError as error:
        # Subsampling may leave nothing; nothing else is wrong with these documents.
        if settings["sample"] and "sample = 0" in str(error):
            return
        raise Fault(f"{error} ({described})") from error
    tags = {tag for document in documents for tag in document.tags}
    if set(model.dv.index_to_key) != tags:
        raise Fault(f"the tags are {model.dv.index_to_key}, not {tags} ({described})")
    words = [document.words for document in documents[:5]]
    inferred = model.infer_vectors(words)
    for name, table in {
        "embeddings": model.embeddings.numpy(),
        "weights": model.weights.numpy(),
        "documents": model.documents.numpy(),
        "the inferred": inferred,
    }.items():
        longest = float(np.max(np.linalg.norm(table, axis=1)))
        if not longest < _LONGEST:  # NaN is not
            raise Fault(f"the longest vector of {name} has length {longest:.3g} ({described})")
    place = int(case.rng.integers(len(words)))
    if not np.array_equal(model.infer_vector(words[place]), inferred[place]):
        raise Fault(f"a document has another vector beside others ({described})")


def _settings(case: Case) -> dict[str, Any]:
    hs = case.one_of(0, 0, 1)
    return {
        "vector_size": case.one_of(1, 16, 100),
        "min_count": 1,
        "window": case.one_of(1, 2, 5, 20, 100),
        "dm": case.one_of(0, 1),
        "dm_mean": case.one_of(None, 1, 0),
        "dbow_words": case.one_of(0, 0, 1),
        "hs": hs,
        "negative": 0 if hs else case.one_of(1, 5, 15, 20),
        "alpha": case.one_of(0.025, 0.05, 0.1),
        "sample": case.one_of(0, 0, 1e-3),
        "epochs": case.size(20),
        "seed": case.size(1000),
        "ns_exponent": case.one_of(0.75, 0.75, 0.0, 1.0, -0.5),
        "deterministic": case.chance(0.4),
        "shrink_windows": case.chance(0.7),
    }


def _documents(case: Case, most: int) -> list[fastw2v.TaggedDocument]:
    """Texts of no, one or many words, some of them long, with one tag or several, own or shared."""
    num_words = case.one_of(1, 2, 10, 300)
    ids = case.rng.integers(num_words, size=case.size(most, 2))
    length = case.size(len(ids))
    shared = case.one_of(1, 3, 50)
    documents = []
    for number, at in enumerate(range(0, len(ids), length)):
        tags: list[Any] = [number] if case.chance(0.7) else []
        while not tags or case.chance(0.2):
            tags.append(f"tag {case.rng.integers(shared)}")
        words = [f"w{word}" for word in ids[at : at + length]] if case.chance(0.9) else []
        documents.append(fastw2v.TaggedDocument(words, tags))
    documents.append(fastw2v.TaggedDocument([f"w{word}" for word in ids[:2]], ["last"]))
    return documents
