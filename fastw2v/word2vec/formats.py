"""Files of word vectors: word2vec's text and binary formats, GloVe's text, NumPy's .npz, and the
directory that TensorBoard's projector shows.

Everything here is about words, vectors and counts as they lie in files; `WordVectors.load` and
`WordVectors.save` are the way in.
"""

from __future__ import annotations

import gzip
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fastw2v.word2vec.files import replacing

_BLOCK_BYTES = 1 << 22
_MAX_WORD_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_RATIO = 1032  # no more bytes can come out of one that is compressed

SUFFIXES = {
    "text": (".txt", ".vec"),
    "binary": (".bin",),
    "glove": (".glove",),
    "npz": (".npz",),
    "gensim": (".kv", ".model"),
    "projector": (),
}
_COMPRESSIBLE = ("text", "binary", "glove")


class Contents(NamedTuple):
    """What a file of word vectors holds: V words, vectors float32 [V, D], counts int64 [V]."""

    words: list[str]
    vectors: np.ndarray
    counts: np.ndarray | None


def format_of(path: str | Path) -> str:
    """Returns the format that the name of a file tells, without a final ``.gz``.

    Raises:
        ValueError: It tells none.

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
        f"the name of {path} does not tell its format: it ends in none of {all_known} (.txt, .vec, "
        ".bin and .glove may be followed by .gz); give the format, one of " + ", ".join(SUFFIXES)
    )


# ---- word2vec ------------------------------------------------------------------------------------


def read_word2vec(
    path: str | Path,
    *,
    binary: bool,
    header: bool = True,
    limit: int | None = None,
    encoding: str = "utf8",
    errors: str = "strict",
) -> Contents:
    """Reads word2vec's text or binary format, plain or compressed by gzip.

    Args:
        path: The file.
        binary: Whether vectors are float32 in little-endian order rather than decimal numbers.
        header: Whether the first line holds V and D. GloVe's files have none; text only.
        limit: Read only so many words.
        encoding: Of the words.
        errors: What to do with bytes that are no text in it, as in ``bytes.decode``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, cut off or not in that format; the message names line or word.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1, or None for all words")
    decode = _Decoder(path, encoding, errors)
    with _reading(path) as file:
        if not header:
            words, vectors = _read_text(file, path, None, None, limit, decode)
        else:
            num_words, size = _read_header(file, path, binary)
            wanted = num_words if limit is None else min(limit, num_words)
            if binary:
                words, vectors = _read_binary(file, path, num_words, size, wanted, decode)
            else:
                words, vectors = _read_text(file, path, num_words, size, wanted, decode)
    _check_finite(path, words, vectors)
    return _first_of_each(path, words, vectors)


def write_word2vec(
    path: str | Path, contents: Contents, *, binary: bool, header: bool = True
) -> None:
    """Writes word2vec's text or binary format; compressed by gzip where the name ends in ``.gz``.

    Text has the digits that give the same float32 back.

    Raises:
        OSError: The file cannot be written; one that was there before is whole.
        ValueError: A word is empty or holds white space, which the format cannot express.
    """
    words, vectors, _ = contents
    encoded = _encode(words)
    with _writing(path) as file:
        if header:
            file.write(b"%d %d\n" % vectors.shape)
        if binary:
            for word, vector in zip(encoded, vectors.astype("<f4", copy=False), strict=True):
                file.write(word + b" " + vector.tobytes() + b"\n")
        else:
            line = b"%s" + b" %.9g" * vectors.shape[1] + b"\n"
            for begin in range(0, len(words), 1024):
                rows = zip(
                    encoded[begin : begin + 1024],
                    vectors[begin : begin + 1024].tolist(),
                    strict=True,
                )
                file.write(b"".join(line % (word, *vector) for word, vector in rows))


def read_counts(
    path: str | Path, words: Sequence[str], encoding: str = "utf8", errors: str = "strict"
) -> np.ndarray:
    """Reads word2vec's vocabulary file, ``word count`` on each line; words without one count 0.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not a word and an integer, or a word is no text.
    """
    counts: dict[str, int] = {}
    decode = _Decoder(path, encoding, errors)
    with _reading(path) as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if len(fields) != 2 or not fields[1].isdigit():
                raise ValueError(f"{path}, line {number}: expected a word and its count")
            counts[decode(fields[0], f"line {number}")] = int(fields[1])
    return np.array([counts.get(word, 0) for word in words], dtype=np.int64)


def write_counts(path: str | Path, contents: Contents) -> None:
    """Writes word2vec's vocabulary file.

    Raises:
        OSError: The file cannot be written.
        ValueError: There are no counts, or a word is empty or holds white space.
    """
    if contents.counts is None:
        raise ValueError("the vectors have no counts of words to write")
    lines = zip(_encode(contents.words), contents.counts.tolist(), strict=True)
    with _writing(path) as file:
        file.write(b"".join(b"%s %d\n" % line for line in lines))


def _read_header(file: BinaryIO, path: str | Path, binary: bool) -> tuple[int, int]:
    header = file.readline(_MAX_WORD_BYTES).split()
    if len(header) != 2 or not all(number.isdigit() for number in header):
        raise ValueError(f"{path}, line 1: expected the number of words and the width")
    num_words, size = map(int, header)
    if size < 1:
        raise ValueError(f"{path}, line 1: the width is {size}; it must be at least 1")
    # A wrong header must not ask for more memory than the file could fill.
    smallest = num_words * (2 + (4 if binary else 2) * size)
    length = os.path.getsize(path) if os.path.isfile(path) else None
    if length is not None:
        longest = length * _DEFLATE_RATIO if isinstance(file, gzip.GzipFile) else length
        if smallest > longest + 2:  # the last line may lack its end
            raise ValueError(
                f"{path} is cut off, or is not in word2vec's {'binary' if binary else 'text'} "
                f"format: line 1 promises {num_words:,} words of width {size:,}, and there are "
                f"{length:,} bytes"
            )
    return num_words, size


def _read_binary(
    file: BinaryIO, path: str | Path, num_words: int, size: int, wanted: int, decode: _Decoder
) -> tuple[list[str], np.ndarray]:
    words: list[str] = []
    vectors = np.empty((wanted, size), dtype=np.float32)
    block, begin = b"", 0
    for row in range(wanted):
        while True:
            space = block.find(b" ", begin)
            end = space + 1 + 4 * size
            if space >= 0 and end <= len(block):
                break
            if space < 0 and len(block) - begin > _MAX_WORD_BYTES:
                raise ValueError(
                    f"{path}, word {row + 1}: no space after {_MAX_WORD_BYTES:,} bytes; the file "
                    "is damaged or not in word2vec's binary format"
                )
            more = file.read(max(_BLOCK_BYTES, 4 * size))
            if not more:
                raise ValueError(
                    f"{path} is cut off, or is not in word2vec's binary format: it ends in word "
                    f"{row + 1:,} of {num_words:,}"
                )
            block, begin = block[begin:] + more, 0
        # The original program ends each vector with a line end, others do not.
        words.append(decode(block[begin:space].lstrip(b"\n"), f"word {row + 1:,}"))
        vectors[row] = np.frombuffer(block, dtype="<f4", count=size, offset=space + 1)
        begin = end
    if wanted == num_words and (block[begin:] + file.read(_BLOCK_BYTES)).strip():
        raise ValueError(
            f"{path} does not end after the {num_words:,} words that line 1 promises; it is "
            "damaged or not in word2vec's binary format"
        )
    return words, vectors


def _read_text(
    file: BinaryIO,
    path: str | Path,
    num_words: int | None,
    size: int | None,
    wanted: int | None,
    decode: _Decoder,
) -> tuple[list[str], np.ndarray]:
    """Reads lines of a word and numbers; without a header their number and width are unknown."""
    first = 1 if num_words is None else 2
    words: list[str] = []
    blocks: list[np.ndarray] = []
    for block in _line_blocks(file, path):
        lines = block.split(b"\n")
        if size is None:
            size = max(len(lines[0].split()) - 1, 1)
        if not lines[-1]:
            lines.pop()
        room = len(lines) if wanted is None else wanted - len(words)
        beyond = lines[room:]
        del lines[room:]
        if lines:
            number = first + len(words)
            pairs = [line.partition(b" ") for line in lines]
            blocks.append(_parse(path, number, pairs, size))
            words += [decode(pair[0], f"line {number + row}") for row, pair in enumerate(pairs)]
        if len(words) == wanted != num_words:
            break
        if any(line.strip() for line in beyond):
            raise ValueError(
                f"{path}, line {first + len(words)}: expected the end after the {len(words):,} "
                "words that line 1 promises"
            )
    if num_words is not None and len(words) < wanted:
        raise ValueError(
            f"{path}, line {first + len(words)}: expected a word and {size} numbers, found the end "
            f"of the file; it is cut off after {len(words):,} of {num_words:,} words"
        )
    if size is None:
        raise ValueError(f"{path}, line 1: expected a word and its numbers, the file is empty")
    return words, np.concatenate([np.empty((0, size), np.float32), *blocks])


def _line_blocks(file: BinaryIO, path: str | Path) -> Iterator[bytes]:
    """Yields blocks of whole lines."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > 64 * _MAX_WORD_BYTES:
            raise ValueError(
                f"{path} is not in word2vec's text format: a line of more than {len(rest):,} bytes"
            )
    if rest:
        yield rest


def _parse(
    path: str | Path, number: int, pairs: list[tuple[bytes, bytes, bytes]], size: int
) -> np.ndarray:
    """Returns the numbers of some lines, float32 [lines, size]; the first is line `number`."""
    texts = [numbers.strip() for _, _, numbers in pairs]
    if all(text.count(b" ") == size - 1 for text in texts):
        try:
            values = np.fromstring(b" ".join(texts), dtype=np.float32, sep=" ")
        except ValueError:  # found again below, with its line
            values = np.empty(0, np.float32)
        if len(values) == len(texts) * size:
            return values.reshape(len(texts), size)
    values = np.empty((len(texts), size), dtype=np.float32)
    for row, text in enumerate(texts):
        fields = text.split()
        if len(fields) != size:
            raise ValueError(
                f"{path}, line {number + row}: expected a word and {size} numbers, found "
                f"{len(fields)} numbers; the file is damaged or not in word2vec's text format"
            )
        try:
            values[row] = [float(field) for field in fields]
        except ValueError as error:
            raise ValueError(f"{path}, line {number + row}: {str(error)[:200]}") from None
    return values


class _Decoder:
    """Decodes words, and tells where one cannot be."""

    def __init__(self, path: str | Path, encoding: str, errors: str) -> None:
        self._path, self._encoding, self._errors = path, encoding, errors

    def __call__(self, word: bytes, place: str) -> str:
        try:
            text = word.decode(self._encoding, self._errors)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self._path}, {place}: {word[:100]!r} is not {self._encoding} text: "
                f"{error.reason}; errors='ignore' or 'replace' read it all the same"
            ) from None
        if not text:
            raise ValueError(f"{self._path}, {place}: the word is empty")
        return text


def _encode(words: Iterable[str]) -> list[bytes]:
    # Words that were read with errors="surrogateescape" get their bytes back.
    encoded = [word.encode("utf8", "surrogateescape") for word in words]
    for word in encoded:
        if word.split() != [word]:
            raise ValueError(f"the word {word.decode()!r} is empty or holds white space")
    return encoded


def _check_finite(path: str | Path, words: Sequence[str], vectors: np.ndarray) -> None:
    if not vectors.size:
        return
    # NaN and infinities show in the extremes; a mask of all elements would take more memory.
    broken = ~(np.isfinite(vectors.max(axis=1)) & np.isfinite(vectors.min(axis=1)))
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            f"{path}: the vector of word {row + 1:,}, {words[row]!r}, holds a number that is not "
            "finite; the file is damaged or not in the format that was expected"
        )


def _first_of_each(path: str | Path, words: list[str], vectors: np.ndarray) -> Contents:
    """Leaves out words that were there before, as gensim does."""
    first = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(first) == len(words):
        return Contents(words, vectors, None)
    rows = sorted(first.values())
    repeated = next(word for row, word in enumerate(words) if first[word] != row)
    warnings.warn(
        f"{path}: {len(words) - len(rows):,} words occur more than once, for example {repeated!r}; "
        "the first vector of each is kept",
        stacklevel=4,
    )
    return Contents([words[row] for row in rows], vectors[rows], None)


@contextmanager
def _reading(path: str | Path) -> Iterator[BinaryIO]:
    """Opens a file, plain or compressed by gzip, whatever its name."""
    with open(path, "rb") as plain:
        compressed = plain.peek(2)[:2] == _GZIP_MAGIC
        file = gzip.GzipFile(fileobj=plain) if compressed else plain
        try:
            yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error


@contextmanager
def _writing(path: str | Path) -> Iterator[BinaryIO]:
    with replacing(path) as file:
        if str(path).lower().endswith(".gz"):
            # No time and no name, so that the same vectors give the same bytes.
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
                yield compressed
        else:
            yield file


# ---- NumPy ---------------------------------------------------------------------------------------


def read_npz(path: str | Path) -> Contents:
    """Reads a NumPy file with the arrays ``words``, ``vectors`` and, if there, ``counts``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or an array is missing or of another kind.
    """
    try:
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise ValueError("it holds a single array")
            missing = [name for name in ("words", "vectors") if name not in arrays]
            if missing:
                raise ValueError(f"it holds no array {missing[0]!r}")
            words, vectors = arrays["words"], arrays["vectors"]
            counts = arrays["counts"] if "counts" in arrays else None
    except (
        *(ValueError, EOFError, KeyError, NotImplementedError, SyntaxError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise ValueError(f"{path} is not a file of word vectors, or is damaged: {error}") from error
    if words.dtype.kind != "U" or words.ndim != 1:
        raise ValueError(f"{path}: words must be a vector of text; got {words.dtype} {words.shape}")
    if vectors.dtype.kind != "f" or vectors.ndim != 2 or len(vectors) != len(words):
        raise ValueError(
            f"{path}: vectors must be floats with a row for each of the {len(words)} words; got "
            f"{vectors.dtype} {vectors.shape}"
        )
    contents = Contents(words.tolist(), vectors.astype(np.float32, copy=False), counts)
    _check_finite(path, contents.words, contents.vectors)
    return contents


def write_npz(path: str | Path, contents: Contents) -> None:
    """Writes the arrays ``words``, ``vectors`` and, if there are any, ``counts``.

    Raises:
        OSError: The file cannot be written; one that was there before is whole.
        ValueError: A word ends in a zero character, which NumPy's arrays of text cannot hold.
    """
    words = np.array(contents.words, dtype=np.str_)
    for word in contents.words:
        if word.endswith("\0"):
            raise ValueError(f"the word {word!r} ends in a zero character")
    arrays = {"words": words, "vectors": contents.vectors}
    if contents.counts is not None:
        arrays["counts"] = contents.counts
    with replacing(path) as file:
        np.savez(file, **arrays)


# ---- TensorBoard ---------------------------------------------------------------------------------


def write_projector(directory: str | Path, contents: Contents, name: str = "words") -> None:
    """Writes a log directory whose vectors TensorBoard's projector shows.

    ``vectors.tsv``, ``metadata.tsv`` (words, and counts if there are any) and
    ``projector_config.pbtxt``; then ``tensorboard --logdir DIRECTORY`` and "Projector".

    Raises:
        OSError: The files cannot be written.
        ValueError: A word is empty or holds white space.
    """
    words, vectors, counts = contents
    encoded = _encode(words)
    Path(directory).mkdir(parents=True, exist_ok=True)
    line = b"\t".join([b"%.9g"] * vectors.shape[1]) + b"\n"
    with replacing(Path(directory, "vectors.tsv")) as file:
        for vector in vectors:
            file.write(line % tuple(vector.tolist()))
    with replacing(Path(directory, "metadata.tsv")) as file:
        if counts is None:  # a single column has no heading
            file.write(b"".join(word + b"\n" for word in encoded))
        else:
            lines = zip(encoded, counts.tolist(), strict=True)
            file.write(b"word\tcount\n" + b"".join(b"%s\t%d\n" % line for line in lines))
    config = (
        f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "vectors.tsv"\n'
        '  metadata_path: "metadata.tsv"\n}\n'
    )
    with replacing(Path(directory, "projector_config.pbtxt")) as file:
        file.write(config.encode())
