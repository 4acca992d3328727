"""NumPy's format of word vectors, ``.npz``.

The arrays are ``vectors``, float32 [V, D], ``counts``, int64 [V], if they are known, and the words
as ``words_utf8``, the bytes of all of them one after another, and ``word_lengths``, int64 [V], how
many bytes each has: an array of text would take the room of the longest word for each. Where some
words are integers, ``word_is_integer`` says which, and their text is decimal. Files with an array
of text, ``words``, are read as well.
"""

from __future__ import annotations

import itertools
import os

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.vectors.formats.array_archive import ArrayArchive
from fastw2v.word2vec.vectors.formats.contents import (
    Contents,
    check_contents,
    check_finite,
    damage_named,
)

_DESCRIPTION = "a file of word vectors"


def read_npz(path: str | os.PathLike[str]) -> Contents:
    """Reads a file of `write_npz`, or another that has its arrays.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or an array is missing or of another kind.
    """
    with open(path, "rb") as file, damage_named(path, _DESCRIPTION):
        if file.peek(6).startswith(np.lib.format.MAGIC_PREFIX):
            raise ValueError("it holds a single array")
        archive = ArrayArchive(file)
        entries = {name.removesuffix(".npy"): name for name in archive.names}
        for name in ("words" if "words_utf8" not in entries else "word_lengths", "vectors"):
            if name not in entries:
                raise ValueError(f"it holds no array {name!r}")
        arrays = {
            name: archive.array(entry)
            for name, entry in entries.items()
            if name
            in ("words", "words_utf8", "word_lengths", "word_is_integer", "vectors", "counts")
        }
        vectors = arrays["vectors"]
        if vectors.dtype.kind == "f":
            vectors = vectors.astype(np.float32, copy=False)
        counts = arrays.get("counts")
        if counts is not None and counts.dtype.kind in "iu" and (counts <= 2**63 - 1).all():
            counts = counts.astype(np.int64, copy=False)
        contents = Contents(_words(arrays), vectors, counts)
        check_contents(contents)
    check_finite(path, contents.words, contents.vectors)
    return contents


def write_npz(path: str | os.PathLike[str], contents: Contents) -> None:
    """Writes the arrays that are described at the top of this file.

    Raises:
        OSError: The file cannot be written; one that was there before is whole.
    """
    words, vectors, counts = contents[:3]
    is_integer = np.array([not isinstance(word, str) for word in words], bool)
    # Every str of Python can be written, also one that is no text elsewhere.
    encoded = [str(word).encode("utf8", "surrogatepass") for word in words]
    arrays = {
        "words_utf8": np.frombuffer(b"".join(encoded), np.uint8),
        "word_lengths": np.array([len(word) for word in encoded], np.int64),
        "vectors": vectors,
    }
    if is_integer.any():
        arrays["word_is_integer"] = is_integer
    if counts is not None:
        arrays["counts"] = counts
    with replacing(path) as file:
        np.savez(file, **arrays)


def _words(arrays: dict[str, np.ndarray]) -> list[str | int]:
    if "words_utf8" not in arrays:
        words = arrays["words"]
        if words.dtype.kind != "U" or words.ndim != 1:
            raise ValueError(f"words must be a vector of text; got {words.dtype} {words.shape}")
        return words.tolist()
    text, lengths = arrays["words_utf8"], arrays["word_lengths"]
    is_integer = arrays.get("word_is_integer", np.zeros(lengths.shape, bool))
    if (
        (text.dtype, text.ndim, lengths.dtype, lengths.ndim) != (np.uint8, 1, np.int64, 1)
        or is_integer.dtype != bool
        or is_integer.shape != lengths.shape
        or (len(lengths) and (lengths.min() < 0 or lengths.max() > len(text)))
        or lengths.sum() != len(text)
    ):
        raise ValueError("words_utf8 and word_lengths do not fit together")
    text = text.tobytes()
    ends = [0, *lengths.cumsum().tolist()]
    words = [
        text[begin:end].decode("utf8", "surrogatepass") for begin, end in itertools.pairwise(ends)
    ]
    for row in np.flatnonzero(is_integer).tolist():
        words[row] = int(words[row])
    return words
