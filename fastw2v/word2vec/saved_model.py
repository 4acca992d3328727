"""A model as one file: a zip archive of NumPy arrays and a description.

Another file is written first and takes the name when it is complete, so that a full disk or an
interruption leaves the old one whole. The archive holds checksums, and what is cut short or changed
is refused.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf

from fastw2v.word2vec.files import replacing

_FORMAT = 1
_DESCRIPTION, _WORDS, _COUNTS = "description.json", "words.json", "counts.npy"
_PIECE_ROWS = 1 << 14


def write(
    path: str | os.PathLike[str],
    description: dict[str, Any],
    words: list[str],
    counts: np.ndarray,
    tables: dict[str, tf.Variable],
) -> None:
    """Writes a model. Tables are read in pieces, not copied.

    Raises:
        OSError: The file cannot be written; what was there is still there.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(_DESCRIPTION, json.dumps({"format": _FORMAT, **description}))
        archive.writestr(_WORDS, json.dumps(words))
        with archive.open(_COUNTS, "w") as entry:
            np.lib.format.write_array(entry, counts)
        for name, variable in tables.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                _write_table(entry, variable)


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], list[str], np.ndarray, dict[str, np.ndarray]]:
    """Reads what `write` wrote.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file, or it is damaged.
    """
    with _opened(path) as (archive, description):
        words = json.loads(archive.read(_WORDS))
        with archive.open(_COUNTS) as entry:
            counts = np.lib.format.read_array(entry)
        tables = {}
        for name in archive.namelist():
            if name not in (_DESCRIPTION, _WORDS, _COUNTS):
                with archive.open(name) as entry:
                    tables[name.removesuffix(".npy")] = np.lib.format.read_array(entry)
    return description, words, counts, tables


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Whether the training of a saved model came to its end. The tables are not read.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no saved model.
    """
    with _opened(path) as (_, description):
        run = description["state"]["run"]
        return run is None or run["epoch"] == run["epochs"]


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[zipfile.ZipFile, dict[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            description = json.loads(archive.read(_DESCRIPTION))
            if description.get("format") != _FORMAT:
                raise ValueError(f"its format is {description.get('format')}, not {_FORMAT}")
            yield archive, description
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is not a saved model of fastw2v: {error}") from error


def _write_table(entry: BinaryIO, variable: tf.Variable) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(variable.dtype.as_numpy_dtype)),
        "fortran_order": False,
        "shape": tuple(variable.shape),
    }
    np.lib.format.write_array_header_1_0(entry, header)
    for first in range(0, variable.shape[0], _PIECE_ROWS):
        rows = tf.range(first, min(first + _PIECE_ROWS, variable.shape[0]))
        entry.write(tf.gather(variable, rows).numpy().tobytes())
