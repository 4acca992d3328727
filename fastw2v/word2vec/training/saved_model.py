"""A model as one file: a zip archive of NumPy arrays and a description.

Another file is written first and takes the name when it is complete, so that a full disk or an
interruption leaves the old one whole. The archive holds checksums, and what is cut short or changed
is refused.

A file that is read is data: from its description come the settings of `Settings` and the state of
training, each checked, and nothing else, so that it names no file and no program. Words, counts,
tables and state are checked against each other.
"""

from __future__ import annotations

import json
import math
import os
import types
import typing
import zipfile
from dataclasses import dataclass, fields, is_dataclass
from typing import IO, Any, TypeVar

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.corpus import Vocabulary
from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.training.objectives import table_shapes
from fastw2v.word2vec.training.settings import DocumentSettings, Settings, SubwordSettings
from fastw2v.word2vec.training.tables import pieces
from fastw2v.word2vec.vectors.formats import gensim_files, model_file, plain_pickle
from fastw2v.word2vec.vectors.formats.contents import (
    check_counts,
    check_words,
    damage_named,
)
from fastw2v.word2vec.vectors.formats.model_file import SUBWORD_SETTING

State = TypeVar("State")

_TAGS, _TAG_COUNTS = "tags.json", "tag_counts.npy"
_NO_TABLES = model_file.DESCRIPTION, model_file.WORDS, model_file.COUNTS, _TAGS, _TAG_COUNTS


@dataclass(frozen=True)
class Saved(typing.Generic[State]):
    """What a file holds.

    Attributes:
        settings: The arguments of the model.
        state: How far training is.
        words: V different ones, strings or integers.
        counts: int64 ``[V]``, at least 0.
        tables: float32 ``[V, vector_size]`` or ``[V]``, by the names of `objectives.Tables`; of
            documents ``[N, vector_size]``.
        tags: Of documents, N different ones, and how many documents have each; None: of a model
            without documents.
    """

    settings: Settings
    state: State
    words: list[Any]
    counts: np.ndarray
    tables: dict[str, np.ndarray]
    tags: Vocabulary | None = None


def write(
    path: str | os.PathLike[str],
    description: dict[str, Any],
    words: list[Any],
    counts: np.ndarray,
    tables: dict[str, tf.Variable],
    tags: Vocabulary | None = None,
) -> None:
    """Writes a model. Tables are read in pieces, not copied.

    Raises:
        OSError: The file cannot be written; what was there is still there.
        ValueError: A word is neither a string nor an integer.
    """
    check_words(words)
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(
            model_file.DESCRIPTION, json.dumps({"format": model_file.FORMAT, **description})
        )
        archive.writestr(model_file.WORDS, json.dumps(words))
        with archive.open(model_file.COUNTS, "w") as entry:
            np.lib.format.write_array(entry, counts)
        if tags is not None:
            archive.writestr(_TAGS, json.dumps(tags.words))
            with archive.open(_TAG_COUNTS, "w") as entry:
                np.lib.format.write_array(entry, tags.counts)
        for name, variable in tables.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                _write_table(entry, variable)


def read(
    path: str | os.PathLike[str], state: type[State], kind: type[Settings] = Settings
) -> Saved[State]:
    """Reads what `write` wrote, or a model of gensim's ``Word2Vec.save``.

    Args:
        path: The file.
        state: The dataclass of the state of training; all its fields have a default.
        kind: Which settings the model has.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, it is damaged, or it contradicts itself; or it is a model of
            another kind.
    """
    with open(path, "rb") as file:
        is_pickle = plain_pickle.is_pickle(file)
    if is_pickle and kind is Settings:
        return _of_gensim(path, state)
    if is_pickle:
        raise ValueError(
            f"{os.fspath(path)} is a pickle: of gensim's models those of Word2Vec alone are read"
        )
    with model_file.opened(path) as (archive, description):
        tags = None
        if _TAGS in archive.names:
            tags = Vocabulary.from_sorted(archive.json(_TAGS), archive.array(_TAG_COUNTS))
        saved = Saved(
            settings=_settings(description["settings"], _kind(description["settings"], tags)),
            state=_restored(state, description["state"]),
            words=archive.json(model_file.WORDS),
            counts=archive.array(model_file.COUNTS),
            tables={
                name.removesuffix(".npy"): archive.array(name)
                for name in archive.names
                if name not in _NO_TABLES
            },
            tags=tags,
        )
        _check(saved)
    found = type(saved.settings)
    if found is not kind:
        name = {SubwordSettings: "FastText", DocumentSettings: "Doc2Vec"}.get(found, "Word2Vec")
        raise ValueError(f"{os.fspath(path)} is a model of {name}: load it by {name}.load")
    return saved


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Whether the training of a saved model came to its end. The tables are not read.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no saved model.
    """
    with model_file.opened(path) as (_, description):
        run = description["state"]["run"]
        return run is None or run["epoch"] == run["epochs"]


def _kind(given: dict[str, Any], tags: Vocabulary | None) -> type[Settings]:
    """Whose settings they are."""
    if tags is not None or "dbow_words" in given:
        return DocumentSettings
    return SubwordSettings if SUBWORD_SETTING in given else Settings


def _settings(given: dict[str, Any], kind: type[Settings]) -> Settings:
    unknown = given.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"it has a setting {min(unknown)!r}, which this version does not know")
    return kind(**given)


def _restored(kind: Any, value: Any, name: str = "state") -> Any:
    """Returns what was written of a dataclass, as the types of its fields say."""
    if is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or value.keys() - hints.keys():
            raise ValueError(f"{name} has not the fields of {kind.__name__}")
        return kind(**{key: _restored(hints[key], each, key) for key, each in value.items()})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list and isinstance(value, list):
        return [_restored(arguments[0], each, name) for each in value]
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _restored(next(each for each in arguments if each is not type(None)), value, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is int and not 0 <= value < 2**63):
        raise ValueError(f"{name} = {str(value)[:100]} is not a {kind.__name__} of a saved model")
    return value


def _check(saved: Saved[Any]) -> None:
    """Raises ValueError where the parts of a model do not fit together."""
    num_words = len(saved.words)
    check_words(saved.words)
    if not num_words:
        raise ValueError("it has no words")
    check_counts(saved.counts, num_words)
    if saved.tags is not None:
        check_words(saved.tags.words)
        check_counts(saved.tags.counts, len(saved.tags.words))
    shapes = table_shapes(
        saved.settings, num_words, 0 if saved.tags is None else len(saved.tags.words)
    )
    for name in shapes.keys() ^ saved.tables.keys():
        has = "no" if name in shapes else "a"
        raise ValueError(f"it has {has} table {name!r}, against its settings")
    for name, table in saved.tables.items():
        shape = tuple(shapes[name])
        if table.dtype != np.float32 or table.shape != shape:
            raise ValueError(
                f"the table {name!r} is {table.dtype} {table.shape}, not float32 {shape}"
            )
    run = saved.state.run
    if run is not None and not (
        1 <= run.epochs
        and run.epoch <= run.epochs
        and 1 <= run.num_words
        and max(run.block, run.words) <= run.num_words
        and run.first_epoch + run.epoch == len(saved.state.losses)
        and 0 <= run.alpha < math.inf
        and 0 <= run.min_alpha < math.inf
        and run.block_tokens != 1
    ):
        raise ValueError("how far its training is contradicts itself")


def _of_gensim(path: str | os.PathLike[str], state: type[State]) -> Saved[State]:
    """A model of gensim, to train on from."""
    model = gensim_files.read_model(path)
    words, vectors, counts = model.contents[:3]
    known = {field.name for field in fields(Settings)}
    given = {name: value for name, value in model.fields.items() if name in known}
    with damage_named(os.fspath(path), "a model of gensim that can be trained on"):
        if counts is None or model.syn1neg is None or model.syn1 is not None:
            raise ValueError(
                "it has no counts of words"
                if counts is None
                else "its weights belong to the nodes of gensim's own Huffman tree (hs = 1), and "
                "the tree here is another; WordVectors.load reads its vectors"
            )
        # gensim takes None and 0 for what is written as 0 and 1 here.
        given["sample"] = given.get("sample") or 0.0
        given["min_count"] = max(given.get("min_count") or 1, 1)
        totals = {
            name: model.fields[name] for name in ("corpus_count", "corpus_total_words")
            if isinstance(model.fields.get(name), int)
        }  # fmt: skip
        saved = Saved(
            settings=_settings(given, Settings),
            state=_restored(state, totals),
            words=words,
            counts=counts,
            tables={"embeddings": vectors, "weights": model.syn1neg},
        )
        _check(saved)
    return saved


def _write_table(entry: IO[bytes], variable: tf.Variable) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(variable.dtype.as_numpy_dtype)),
        "fortran_order": False,
        "shape": tuple(variable.shape),
    }
    np.lib.format.write_array_header_1_0(entry, header)
    for rows in pieces(variable):
        entry.write(rows.data.cast("B"))
