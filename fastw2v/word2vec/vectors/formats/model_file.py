"""A saved model of `fastw2v.Word2Vec` as a file: the entries of its archive, and its vectors.

Here is what it takes to read the vectors, without TensorFlow. How a model is saved and read whole,
with its settings and tables, is in `fastw2v.word2vec.training.saved_model`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.vectors.formats.array_archive import ArrayArchive
from fastw2v.word2vec.vectors.formats.contents import (
    Contents,
    SubwordTable,
    check_contents,
    check_finite,
    check_subwords,
    damage_named,
)

FORMAT = 1
DESCRIPTION = "description.json"  # tells such a file from other archives
WORDS, COUNTS = "words.json", "counts.npy"
SUBWORD_SETTING = "bucket"  # tells a model of `fastw2v.FastText` from one of `fastw2v.Word2Vec`


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[tuple[ArrayArchive, dict[str, Any]]]:
    """Opens a saved model: its archive and its description.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no saved model, or what is done in the block finds it damaged.
    """
    with (
        open(path, "rb") as file,
        damage_named(os.fspath(path), "a saved model of fastw2v"),
    ):
        archive = ArrayArchive(file)
        description = archive.json(DESCRIPTION)
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise ValueError(f"its description is not of format {FORMAT}")
        yield archive, description


def read_vectors(path: str | os.PathLike[str]) -> Contents:
    """Reads the vectors of a saved model.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, or it is damaged.
    """
    with opened(path) as (archive, description):
        words, counts = archive.json(WORDS), archive.array(COUNTS)
        vectors, subwords = archive.array("embeddings.npy"), None
        if SUBWORD_SETTING in description["settings"]:
            subwords = SubwordTable(
                vectors, *(description["settings"][name] for name in ("min_n", "max_n"))
            )
            check_subwords(words, subwords)
            vectors = Subwords(*subwords[1:], len(vectors) - len(words)).vectors(words, vectors)
        contents = Contents(words, vectors, counts, subwords=subwords)
        check_contents(contents)
    check_finite(os.fspath(path), contents.words, contents.vectors)
    return contents
