"""fastText's file of a model, ``.bin``: words, their rows and those of n-grams, and weights.

Little-endian numbers, one after another: a magic number and a version; the arguments; how many
words and labels there are, and each with a zero byte behind it, its count and its kind; the matrix
of the input, which has a row for each word and for each bucket of n-grams; that of the output.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import asdict, dataclass, fields
from typing import BinaryIO, NamedTuple

import numpy as np

from fastw2v.word2vec.corpus.subwords import Subwords
from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.vectors.formats.contents import (
    Contents,
    SubwordTable,
    check_contents,
    check_finite,
    check_subwords,
    damage_named,
)
from fastw2v.word2vec.vectors.formats.word2vec_format import encoded_words

MAGIC = struct.pack("<i", 793712314)
HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING = 1, 2
CBOW, SKIP_GRAM = 1, 2
_VERSIONS = (11, 12)
_DESCRIPTION = "a file of fastText"
_DICTIONARY = struct.Struct("<iiiqq")  # entries, words, labels, tokens, rows after pruning
_ENTRY = struct.Struct("<qb")  # the count of a word, and whether it is a label
_MATRIX = struct.Struct("<?qq")  # whether it is quantized, rows, columns
_NOT_PRUNED = -1


@dataclass(frozen=True)
class Arguments:
    """fastText's arguments, in the order of the file and under its names."""

    dim: int
    ws: int = 5
    epoch: int = 5
    minCount: int = 5  # noqa: N815
    neg: int = 5
    wordNgrams: int = 1  # noqa: N815
    loss: int = NEGATIVE_SAMPLING
    model: int = SKIP_GRAM
    bucket: int = 2_000_000
    minn: int = 3
    maxn: int = 6
    lrUpdateRate: int = 100  # noqa: N815
    t: float = 1e-4


_ARGUMENTS = struct.Struct(f"<{len(fields(Arguments)) - 1}id")


class FastTextModel(NamedTuple):
    """What a file holds.

    Attributes:
        contents: Words, counts, their vectors and what these are made of.
        output: float32 ``[V, D]``, the weights of the words; of a classifier those of its labels.
        arguments: How it was trained.
    """

    contents: Contents
    output: np.ndarray
    arguments: Arguments


def read_fasttext(path: str | os.PathLike[str]) -> FastTextModel:
    """Reads a model of fastText.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, is not of fastText, or is quantized (``.ftz``).
    """
    with open(path, "rb") as file, damage_named(path, _DESCRIPTION):
        length = os.fstat(file.fileno()).st_size
        if length < len(MAGIC):
            raise ValueError(f"it has {length} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            arguments, place = _read_arguments(data)
            words, counts, place = _read_words(data, place)
        file.seek(place)
        rows = _read_matrix(file, "input", arguments.dim)
        if len(rows) != len(words) + arguments.bucket:
            raise ValueError(
                f"its input has {len(rows):,} rows, and there are {len(words):,} words and "
                f"{arguments.bucket:,} rows of n-grams"
            )
        output = _read_matrix(file, "output", arguments.dim)
        table = SubwordTable(rows, arguments.minn, arguments.maxn)
        check_subwords(words, table)
        subwords = Subwords(arguments.minn, arguments.maxn, arguments.bucket)
        contents = Contents(words, subwords.vectors(words, rows), counts, subwords=table)
        check_contents(contents)
    check_finite(path, words, contents.vectors)
    return FastTextModel(contents, output, arguments)


def write_fasttext(
    path: str | os.PathLike[str],
    contents: Contents,
    output: np.ndarray | None = None,
    arguments: Arguments | None = None,
) -> None:
    """Writes a model of fastText, which fastText and gensim read.

    Args:
        path: The file.
        contents: Words and what their vectors are made of. Counts that are not known are written as
            1 each.
        output: The weights of the words; None: zeros, for vectors that are not trained further.
        arguments: How they were trained; None: fastText's own.

    Raises:
        OSError: The file cannot be written.
        ValueError: A word is empty or holds white space or a zero byte, or there is no word.
    """
    assert contents.subwords is not None
    rows, min_n, max_n = contents.subwords
    words = encoded_words(contents.words)
    if not words:
        raise ValueError("there are no words to write")
    counts = np.ones(len(words), np.int64) if contents.counts is None else contents.counts
    arguments = arguments or Arguments(rows.shape[1])
    made_of = {"dim": rows.shape[1], "minn": min_n, "maxn": max_n, "bucket": len(rows) - len(words)}
    with replacing(path) as file:
        file.write(MAGIC + struct.pack("<i", _VERSIONS[-1]))
        file.write(_ARGUMENTS.pack(*{**asdict(arguments), **made_of}.values()))
        file.write(_DICTIONARY.pack(len(words), len(words), 0, int(counts.sum()), _NOT_PRUNED))
        for word, count in zip(words, counts.tolist(), strict=True):
            if b"\0" in word:
                raise ValueError(f"the word {word!r} holds a zero byte")
            file.write(word + b"\0" + _ENTRY.pack(count, 0))
        _write_matrix(file, rows)
        _write_matrix(file, np.zeros((len(words), rows.shape[1])) if output is None else output)


def _read_arguments(data: mmap.mmap) -> tuple[Arguments, int]:
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin with the magic number of fastText")
    (version,) = struct.unpack_from("<i", data, len(MAGIC))
    if version not in _VERSIONS:
        raise ValueError(f"it is of version {version}, and {_VERSIONS[-1]} is known")
    place = len(MAGIC) + 4
    arguments = Arguments(*_ARGUMENTS.unpack_from(data, place))
    if arguments.dim < 1 or arguments.bucket < 0:
        raise ValueError(f"its dim is {arguments.dim} and its bucket {arguments.bucket}")
    return arguments, place + _ARGUMENTS.size


def _read_words(data: mmap.mmap, place: int) -> tuple[list[str], np.ndarray, int]:
    entries, num_words, num_labels, _, pruned = _DICTIONARY.unpack_from(data, place)
    place += _DICTIONARY.size
    if pruned != _NOT_PRUNED:
        raise ValueError("it is a quantized model, without the rows of some n-grams")
    if num_words < 0 or num_labels < 0 or entries != num_words + num_labels:
        raise ValueError(f"{num_words:,} words and {num_labels:,} labels are not {entries:,}")
    if entries * (2 + _ENTRY.size) > len(data) - place:
        raise ValueError(f"it is cut off: it has {len(data):,} bytes, and {entries:,} words")
    words, counts = [], []
    for entry in range(entries):
        end = data.find(b"\0", place)
        if end < 0:
            raise ValueError(f"it is cut off in word {entry + 1:,} of {entries:,}")
        count, kind = _ENTRY.unpack_from(data, end + 1)
        if entry < num_words:
            if kind != 0:
                raise ValueError(f"word {entry + 1:,} of {num_words:,} is a label")
            # Words may be any bytes; n-grams are cut from these.
            words.append(data[place:end].decode("utf-8", "surrogateescape"))
            counts.append(count)
        place = end + 1 + _ENTRY.size
    return words, np.array(counts, np.int64), place


def _read_matrix(file: BinaryIO, name: str, width: int) -> np.ndarray:
    header = file.read(_MATRIX.size)
    if len(header) < _MATRIX.size:
        raise ValueError(f"it is cut off before its {name}")
    quantized, rows, columns = _MATRIX.unpack(header)
    if quantized:
        raise ValueError(f"its {name} is quantized")
    left = os.fstat(file.fileno()).st_size - file.tell()
    if columns != width or rows < 0 or 4 * rows * columns > left:
        raise ValueError(
            f"its {name} should be {rows:,} rows of {columns:,} numbers; dim is {width:,}, and "
            f"{left:,} bytes are left"
        )
    return np.fromfile(file, "<f4", rows * columns).reshape(rows, columns)


def _write_matrix(file: BinaryIO, matrix: np.ndarray) -> None:
    file.write(_MATRIX.pack(False, *matrix.shape))
    file.write(np.ascontiguousarray(matrix, "<f4").data)
