"""Word2vec's text and binary formats, GloVe's text, and word2vec's file of counts."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fastw2v.word2vec.vectors.formats.contents import Contents, check_finite, first_of_each
from fastw2v.word2vec.vectors.formats.gzipped import Reader, reading, writing

_BLOCK_BYTES = 1 << 22
_MAX_WORD_BYTES = 1 << 20
_SHOWN = 40  # characters of a line in a message
_DEFLATE_RATIO = 1032  # no more bytes can come out of one that is compressed
_OF_NUMBERS = b"0123456789+-.eE \t\r\n"


def read_word2vec(
    path: str | os.PathLike[str],
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
        header: Whether the first line holds V and D. Text alone may lack it, as GloVe's files do;
            then the first line states D, and a word may hold blanks.
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
    with reading(path) as file:
        if not header:
            words, vectors = _read_text(file, path, None, None, limit, decode)
        else:
            num_words, size, wanted = _read_header(file, path, binary, limit)
            if binary:
                words, vectors = _read_binary(file, path, num_words, size, wanted, decode)
            else:
                words, vectors = _read_text(file, path, num_words, size, wanted, decode)
    check_finite(path, words, vectors)
    return first_of_each(path, words, vectors)


def write_word2vec(
    path: str | os.PathLike[str], contents: Contents, *, binary: bool, header: bool = True
) -> None:
    """Writes word2vec's text or binary format; compressed by gzip where the name ends in ``.gz``.

    Text has the digits that give the same float32 back.

    Raises:
        OSError: The file cannot be written; one that was there before is whole.
        ValueError: A word is empty or holds white space, which the format cannot express.
    """
    words, vectors = contents[:2]
    encoded = encoded_words(words)
    with writing(path) as file:
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


def to_count(field: bytes) -> int | None:
    """The integer in [0, 2**63) that a field is, None where it is none."""
    digits = field.lstrip(b"0") or b"0"
    if not field.isdigit() or len(digits) > 19:
        return None
    count = int(digits)
    return count if count < 2**63 else None


def read_counts(
    path: str | os.PathLike[str],
    words: Sequence[str],
    encoding: str = "utf8",
    errors: str = "strict",
) -> np.ndarray:
    """Reads word2vec's vocabulary file, ``word count`` on each line; words without one count 0.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is not a word and an integer in [0, 2**63), or a word is no text.
    """
    counts: dict[str, int] = {}
    decode = _Decoder(path, encoding, errors)
    with reading(path) as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            count = to_count(fields[1]) if len(fields) == 2 else None
            if count is None:
                raise ValueError(
                    f"{path}, line {number}: expected a word and its count, below 2**63"
                )
            counts[decode(fields[0], f"line {number}")] = count
    return np.array([counts.get(word, 0) for word in words], dtype=np.int64)


def write_counts(path: str | os.PathLike[str], contents: Contents) -> None:
    """Writes word2vec's vocabulary file.

    Raises:
        OSError: The file cannot be written.
        ValueError: There are no counts, or a word is empty or holds white space.
    """
    if contents.counts is None:
        raise ValueError("the vectors have no counts of words to write")
    lines = zip(encoded_words(contents.words), contents.counts.tolist(), strict=True)
    with writing(path) as file:
        file.write(b"".join(b"%s %d\n" % line for line in lines))


def _shown(line: bytes) -> str:
    """The beginning of a line, for a message."""
    text = line.decode("utf-8", "backslashreplace").strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _read_header(
    file: Reader, path: str | os.PathLike[str], binary: bool, limit: int | None
) -> tuple[int, int, int]:
    """Returns how many words there are, the width, and how many words to read."""
    line = file.readline(_MAX_WORD_BYTES)
    header = [to_count(field) for field in line.split()]
    if len(header) != 2 or None in header:
        raise ValueError(
            f"{path}, line 1: expected the number of words and the width, not {_shown(line)}; a "
            "text that begins with a word, as GloVe's do, is of the format glove (no_header=True)"
        )
    num_words, size = (count or 0 for count in header)
    if size < 1:
        raise ValueError(f"{path}, line 1: the width is {size}; it must be at least 1")
    wanted = num_words if limit is None else min(limit, num_words)
    # A wrong header must not ask for more memory than the file could fill.
    smallest = wanted * (2 + (4 if binary else 2) * size)
    length = os.path.getsize(path) if os.path.isfile(path) else None
    if length is not None:
        longest = length * _DEFLATE_RATIO if isinstance(file, gzip.GzipFile) else length
        if smallest > longest + 2:  # the last line may lack its end
            raise ValueError(
                f"{path} is cut off, or is not in word2vec's {'binary' if binary else 'text'} "
                f"format: line 1 promises {num_words:,} words of width {size:,}, and there are "
                f"{length:,} bytes"
            )
    return num_words, size, wanted


def _read_binary(
    file: Reader,
    path: str | os.PathLike[str],
    num_words: int,
    size: int,
    wanted: int,
    decode: _Decoder,
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
        if row == 0 and _is_written_in_digits(block[space + 1 : end], size):
            raise ValueError(
                f"{path} is not in word2vec's binary format: its first vector is written in "
                "digits; read it as text (format='text', binary=False)"
            )
        words.append(decode(block[begin:space].lstrip(b"\n"), f"word {row + 1:,}"))
        vectors[row] = np.frombuffer(block, dtype="<f4", count=size, offset=space + 1)
        begin = end
    if wanted == num_words and (block[begin:] + file.read(_BLOCK_BYTES)).strip():
        raise ValueError(
            f"{path} does not end after the {num_words:,} words that line 1 promises; it is "
            "damaged or not in word2vec's binary format"
        )
    return words, vectors


def _is_written_in_digits(vector: bytes, size: int) -> bool:
    """Whether the bytes where float32 numbers should be are the text of a vector.

    Short numbers, such as those of "a 0 0 1", leave room for words of the next lines.
    """
    line = vector.partition(b"\n")[0]
    is_whole = len(line) == len(vector) or len(line.split()) == size
    return size > 1 and is_whole and not line.translate(None, _OF_NUMBERS)


def _read_text(
    file: Reader,
    path: str | os.PathLike[str],
    num_words: int | None,
    size: int | None,
    wanted: int | None,
    decode: _Decoder,
) -> tuple[list[str], np.ndarray]:
    """Reads lines of a word and numbers; without a header their number and width are unknown."""
    first = 1 if num_words is None else 2
    has_blanks = size is None  # in words
    words: list[str] = []
    blocks: list[np.ndarray] = []
    for block in _line_blocks(file, path):
        lines = block.split(b"\n")
        if size is None:
            size = _trailing_numbers(lines[0].split())
        if not lines[-1]:
            lines.pop()
        room = len(lines) if wanted is None else wanted - len(words)
        beyond = lines[room:]
        del lines[room:]
        if lines:
            number = first + len(words)
            pairs = [line.partition(b" ")[::2] for line in lines]
            if has_blanks:
                pairs = [
                    pair if pair[1].strip().count(b" ") < size else _split_at_numbers(line, size)
                    for pair, line in zip(pairs, lines, strict=True)
                ]
            blocks.append(_parse(path, number, [pair[1] for pair in pairs], size))
            words += [decode(pair[0], f"line {number + row}") for row, pair in enumerate(pairs)]
        if len(words) == wanted != num_words:
            break
        if any(line.strip() for line in beyond):
            raise ValueError(
                f"{path}, line {first + len(words)}: expected the end after the {len(words):,} "
                "words that line 1 promises"
            )
    if num_words is not None and wanted is not None and len(words) < wanted:
        raise ValueError(
            f"{path}, line {first + len(words)}: expected a word and {size} numbers, found the end "
            f"of the file; it is cut off after {len(words):,} of {num_words:,} words"
        )
    if size is None:
        raise ValueError(f"{path}, line 1: expected a word and its numbers, the file is empty")
    return words, np.concatenate([np.empty((0, size), np.float32), *blocks])


def _trailing_numbers(fields: list[bytes]) -> int:
    """How many fields at the end of a line are numbers; the first is a word, at least."""
    size = 0
    for field in fields[:0:-1]:
        try:
            float(field)
        except ValueError:
            break
        size += 1
    return max(size, 1)


def _split_at_numbers(line: bytes, size: int) -> tuple[bytes, bytes]:
    word, *numbers = line.rstrip().rsplit(b" ", size)
    return word, b" ".join(numbers)


def _line_blocks(file: Reader, path: str | os.PathLike[str]) -> Iterator[bytes]:
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


def _parse(path: str | os.PathLike[str], number: int, texts: list[bytes], size: int) -> np.ndarray:
    """Returns the numbers of some lines, float32 [lines, size]; the first is line `number`."""
    texts = [text.strip() for text in texts]
    joined = b" ".join(texts)
    # With single blanks and no other white space, a line has a field more than blanks.
    if all(text.count(b" ") == size - 1 for text in texts) and not any(
        other in joined for other in (b"  ", b"\t", b"\r", b"\v", b"\f")
    ):
        try:
            values = np.fromstring(joined, dtype=np.float32, sep=" ")
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
    """Decodes words, and says where one cannot be decoded."""

    def __init__(self, path: str | os.PathLike[str], encoding: str, errors: str) -> None:
        self._path, self._encoding, self._errors = path, encoding, errors

    def __call__(self, word: bytes, place: str) -> str:
        if not word:
            raise ValueError(f"{self._path}, {place}: the word is empty")
        try:
            # With errors="ignore" a word may become empty; gensim keeps it as well.
            return word.decode(self._encoding, self._errors)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self._path}, {place}: {word[:100]!r} is not {self._encoding} text: "
                f"{error.reason}; errors='ignore' or 'replace' read it all the same"
            ) from None


def encoded_words(words: Iterable[Any]) -> list[bytes]:
    """Returns the UTF-8 bytes of words; those read with errors="surrogateescape" get theirs back.

    Raises:
        ValueError: A word is empty or holds white space.
    """
    encoded = [str(word).encode("utf8", "surrogateescape") for word in words]
    for word in encoded:
        if word.split() != [word]:
            raise ValueError(f"the word {word.decode()!r} is empty or holds white space")
    return encoded
