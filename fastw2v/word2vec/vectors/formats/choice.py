"""Which format a file of word vectors is in, and reading it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from fastw2v.word2vec.vectors.formats import (
    fasttext_format,
    gensim_files,
    model_file,
    plain_pickle,
)
from fastw2v.word2vec.vectors.formats.contents import Contents, damage_named
from fastw2v.word2vec.vectors.formats.gzipped import Reader, reading
from fastw2v.word2vec.vectors.formats.npz import read_npz
from fastw2v.word2vec.vectors.formats.word2vec_format import read_word2vec, to_count

SUFFIXES = {
    "text": (".txt", ".vec"),
    "binary": (".bin",),
    "glove": (".glove",),
    "npz": (".npz",),
    "gensim": (".kv", ".model"),
    "fasttext": (),
    "projector": (),
}
_MODEL = "that of a model of fastw2v"  # none that can be given: vectors are not written in it
_COMPRESSIBLE = ("text", "binary", "glove")
_LONGEST_FIRST_LINE = 1 << 20


def format_of(path: str | os.PathLike[str]) -> str:
    """Returns the format that the name of a file shows, without a final ``.gz``.

    Raises:
        ValueError: It shows none.

    Example:
        >>> format_of("vectors.txt.gz"), format_of("vectors.bin")
        ('text', 'binary')
    """
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    compressed = suffixes[-1:] == [".gz"]
    if compressed:
        suffixes.pop()
    for name, known in SUFFIXES.items():
        if suffixes and suffixes[-1] in known and (name in _COMPRESSIBLE or not compressed):
            return name
    all_known = ", ".join(suffix for known in SUFFIXES.values() for suffix in known)
    raise ValueError(
        f"the name of {path} does not show its format: it ends in none of {all_known} (.txt, .vec, "
        ".bin and .glove may be followed by .gz); give the format, one of " + ", ".join(SUFFIXES)
    )


def read(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    mmap: str | None = None,
    unicode_errors: str = "strict",
    limit: int | None = None,
) -> Contents:
    """Reads the words and vectors of a file.

    Args:
        path: The file.
        format: One of ``SUFFIXES``. None: what the file holds decides, and where that may be
            several, its name. Models of `Word2Vec.save` and checkpoints are then read as well.
        mmap: Map vectors of gensim that lie in a file of their own rather than read them, as in
            ``numpy.load``.
        unicode_errors: What to do with words that are no text, for word2vec's formats and GloVe's.
        limit: Return only so many words, the first ones.

    Raises:
        OSError: The file cannot be read.
        ValueError: The format is unknown, or the file is damaged or not in it.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all words")
    if format == "projector":
        raise ValueError(f"{path}: the format projector can only be written")
    if format is not None and format not in SUFFIXES:
        raise ValueError(f"format = {format!r} is not one of {', '.join(SUFFIXES)}")
    kind = _content_of(path, format)
    readers: dict[str, Callable[[str | os.PathLike[str]], Contents]] = {
        "npz": read_npz,
        "fasttext": lambda path: fasttext_format.read_fasttext(path).contents,
        "gensim": lambda path: gensim_files.read_vectors(path, mmap),
        _MODEL: model_file.read_vectors,
    }
    if kind in readers:
        contents = readers[kind](path)
        if limit is None or limit >= len(contents.words):
            return contents
        words, vectors, counts, attributes = contents[:4]
        return Contents(
            words[:limit],
            vectors[:limit].copy(),
            None if counts is None else counts[:limit],
            {name: values[:limit] for name, values in attributes.items()},
        )
    return read_word2vec(
        path, binary=kind == "binary", header=kind != "glove", limit=limit, errors=unicode_errors
    )


def _content_of(path: str | os.PathLike[str], given: str | None) -> str:
    """Returns the format that is given, else that of the file's content, else that of its name.

    Raises:
        ValueError: The format is not given, and nothing shows it; or the file has another one.
    """
    if not os.path.isfile(path):  # a pipe can be read once only
        return given or format_of(path)
    with reading(path) as file:
        told = _magic_of(file, path)
        if given is not None and told not in (None, given):
            raise ValueError(f"{path} is not of the format {given}, but {told}")
        if given is not None:
            return given
        if told is not None:
            return told
        named = _name_or_none(path)
        if named in ("text", None):
            found = _kind_of_text(file)
            if found == "glove" or (named is None and found is not None):
                return found
    return named or format_of(path)


def _name_or_none(path: str | os.PathLike[str]) -> str | None:
    try:
        return format_of(path)
    except ValueError:
        return None


def _magic_of(file: Reader, path: str | os.PathLike[str]) -> str | None:
    """The format of an open file whose first bytes show it, else None. Its place stays."""
    if plain_pickle.is_pickle(file):
        return "gensim"
    if file.peek(4)[:4] == fasttext_format.MAGIC:
        return "fasttext"
    if file.peek(4)[:4] != b"PK\3\4":
        return None
    with damage_named(path, "a file of word vectors"):
        names = zipfile.ZipFile(path).namelist()
    return _MODEL if model_file.DESCRIPTION in names else "npz"


def _kind_of_text(file: Reader) -> str | None:
    """Which of word2vec's and GloVe's formats an open file seems to be in, None for none."""
    first = file.readline(_LONGEST_FIRST_LINE).split()
    counts = [to_count(field) for field in first]
    if len(counts) == 2 and None not in counts:
        word, *numbers = file.readline(_LONGEST_FIRST_LINE).split(b" ") or [b""]
        return "text" if len(numbers) >= (counts[1] or 0) and _are_numbers(numbers) else "binary"
    return "glove" if len(first) > 2 and _are_numbers(first[-2:]) else None


def _are_numbers(fields: list[bytes]) -> bool:
    try:
        return bool([float(field) for field in fields if field.strip()])
    except ValueError:
        return False
