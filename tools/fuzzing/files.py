"""Damaged files of every format that is read: an error that is documented, or content that makes
sense; what holds a checksum is read as it was written or not at all."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastw2v
from fastw2v.word2vec.corpus import read_corpus
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 10.0, 400.0
_DOCUMENTED = (OSError, ValueError)
_TEXT = [["the", "cat", "sat", "on", "the", "mat"], ["a", "näive", "日本", "word", "the"]] * 8
_LINES = "".join(" ".join(sentence) + "\n" for sentence in _TEXT).encode()
_WORDS = ["the", "cat", "sat", "näive", "日本", "x" * 50, "0", "-1"]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: Of the file; its end tells the format.
        write: Makes a whole file at a path.
        read: Reads it, and returns what is compared where checksums cover it.
        head: Bytes at the beginning that tell what kind of file it is: changed ones would make it
            another kind, without checksums.
        checksums: What is read is either refused or as it was written: after "none" of the kinds
            of damage, after "flips" of bits, or after "all" of them.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]
    head: int = 0
    checksums: str = "none"


def case(case: Case) -> None:
    kind = case.one_of(*FORMATS)
    path = case.directory / kind.name
    kind.write(path)
    content, whole = path.read_bytes(), kind.read(path)
    flips = kind.checksums != "none" and case.chance(0.7)
    damaged = _flipped(case, content, kind.head) if flips else _damaged(case, content)
    path.write_bytes(damaged)
    try:
        found = kind.read(path)
    except _DOCUMENTED as error:
        if kind.name not in str(error):
            raise Fault(f"{kind.name}: the error does not name the file: {error!r}") from error
        return
    if (flips or kind.checksums == "all") and found != whole:
        raise Fault(f"{kind.name}: damage is not noticed, and other content is read")


# ---- Damage --------------------------------------------------------------------------------------


def _flipped(case: Case, content: bytes, head: int) -> bytes:
    damaged = bytearray(content)
    for _ in range(case.size(8)):
        damaged[case.rng.integers(head, len(damaged))] ^= 1 << int(case.rng.integers(8))
    return bytes(damaged)


def _damaged(case: Case, content: bytes) -> bytes:
    for _ in range(case.size(4)):
        begin, end = sorted(int(at) for at in case.rng.integers(0, len(content) + 1, 2))
        piece = content[begin:end]
        how = case.size(8)
        if how == 1:
            content = content[:begin]
        elif how == 2:
            content = content[:begin] + content[end:]
        elif how == 3:
            content = content[:end] + piece + content[end:]
        elif how == 4:
            content = content[:begin] + case.rng.bytes(case.size(40)) + content[begin:]
        elif how == 5:
            content = content[:begin] + case.rng.bytes(len(piece)) + content[end:]
        elif how == 6:
            number = case.one_of(b"99999999999999999999", b"-1", b"nan", b"1e999", b"2147483648")
            content = content[:begin] + number + content[begin:]
        elif how == 7:
            mark = case.one_of(b"\0", b"\n", b" ", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\x1f\x8b")
            content = content[:begin] + mark + content[begin:]
        elif content:
            content = _flipped(case, content, 0)
    return content


# ---- Formats -------------------------------------------------------------------------------------


def _vectors() -> Any:
    vectors = np.random.default_rng(1).normal(size=(len(_WORDS), 7)).astype(np.float32)
    return fastw2v.WordVectors(_WORDS, vectors, counts=np.arange(len(_WORDS), 0, -1))


def _save_vectors(path: Path) -> None:
    _vectors().save(path)


def _load_vectors(path: Path) -> Any:
    vectors = fastw2v.WordVectors.load(path)
    array = np.asarray(vectors.vectors)
    if len(vectors.index_to_key) != len(array) or array.ndim != 2 or not np.isfinite(array).all():
        raise Fault(f"{path.name}: {len(vectors.index_to_key)} words, vectors {array.shape}")
    if len(vectors):
        vectors.most_similar(vectors.index_to_key[0], topn=2)
    return list(vectors.index_to_key), array.tobytes()


def _save_counts(path: Path) -> None:
    _vectors().save_word2vec_format(path.with_suffix(".txt"), fvocab=path)


def _load_counts(path: Path) -> Any:
    vectors = path.with_suffix(".txt")
    _vectors().save_word2vec_format(vectors)
    return len(fastw2v.WordVectors.load_word2vec_format(vectors, fvocab=path))


@functools.cache
def _model() -> Any:
    return fastw2v.Word2Vec(_TEXT, vector_size=8, min_count=1, epochs=1, sample=0)


def _save_model(path: Path) -> None:
    _model().save(path)


def _load_model(path: Path) -> Any:
    model = fastw2v.Word2Vec.load(path)
    return list(model.wv.index_to_key), np.asarray(model.wv.vectors).tobytes()


@functools.cache
def _fasttext_model() -> Any:
    settings = {"vector_size": 4, "min_count": 1, "epochs": 1, "sample": 0, "bucket": 40}
    return fastw2v.FastText(_TEXT, **settings)


def _save_fasttext_model(path: Path) -> None:
    _fasttext_model().save(path)


def _load_fasttext_model(path: Path) -> Any:
    model = fastw2v.FastText.load(path)
    return list(model.wv.words), model.wv.vectors.tobytes()


def _save_facebook_model(path: Path) -> None:
    _fasttext_model().save_facebook_model(path)


def _load_facebook_model(path: Path) -> Any:
    model = fastw2v.FastText.load_facebook_model(path)
    if not np.isfinite(model.wv.vectors).all():
        raise Fault(f"{path.name}: vectors that are not finite")
    return model.wv["unseen"].tobytes() if "unseen" in model.wv else len(model.wv)


def _save_phrases(path: Path) -> None:
    fastw2v.Phrases(_TEXT, min_count=1, threshold=0.1).save(path)


def _load_phrases(path: Path) -> Any:
    return len(fastw2v.Phrases.load(path)[_TEXT[0]])


def _write_text(compress: Callable[[bytes], bytes], path: Path) -> None:
    path.write_bytes(compress(_LINES))


def _read_text(path: Path) -> Any:
    corpus = read_corpus(path, min_count=1, workers=1)
    return list(corpus.vocabulary.words), [block.tolist() for block in corpus.blocks(1000)]


def _read_cache(path: Path) -> Any:
    """The text through its cache, which is written where it is missing or not of that text."""
    text = path.with_name("text")
    if not text.exists():
        text.write_bytes(_LINES)
    corpus = read_corpus(text, cache=path, min_count=1, workers=1)
    return list(corpus.vocabulary.words), [block.tolist() for block in corpus.blocks(1000)]


def _write_pairs(path: Path) -> None:
    path.write_text("the\tcat\t5.5\ncat\tsat\t3\nthe\tsat\t1\n")


def _read_pairs(path: Path) -> Any:
    return bool(_vectors().evaluate_word_pairs(path))


def _write_questions(path: Path) -> None:
    path.write_text(": animals\nthe cat sat näive\ncat the näive sat\n: others\nthe sat cat 0\n")


def _read_questions(path: Path) -> Any:
    return bool(_vectors().evaluate_word_analogies(path))


FORMATS = (
    *(
        Format(f"vectors{end}", _save_vectors, _load_vectors)
        for end in (".txt", ".bin", ".glove", ".kv")
    ),
    Format("vectors.npz", _save_vectors, _load_vectors, 4, "flips"),
    *(
        Format(f"vectors{end}.gz", _save_vectors, _load_vectors, 10, "flips")
        for end in (".txt", ".bin", ".glove")
    ),
    Format("counts.vocab", _save_counts, _load_counts),
    Format("words.model", _save_model, _load_model, 4, "flips"),
    Format("ngrams.model", _save_fasttext_model, _load_fasttext_model, 4, "flips"),
    Format("facebook.bin", _save_facebook_model, _load_facebook_model),
    Format("facebook_vectors.bin", _save_facebook_model, _load_vectors),
    Format("phrases.json", _save_phrases, _load_phrases),
    Format("corpus.txt", functools.partial(_write_text, bytes), _read_text),
    Format("corpus.gz", functools.partial(_write_text, gzip.compress), _read_text, 10, "flips"),
    Format("corpus.bz2", functools.partial(_write_text, bz2.compress), _read_text, 10, "flips"),
    Format("corpus.xz", functools.partial(_write_text, lzma.compress), _read_text, 6, "flips"),
    Format("ids.cache", _read_cache, _read_cache, 0, "all"),
    Format("pairs.tsv", _write_pairs, _read_pairs),
    Format("questions.txt", _write_questions, _read_questions),
)
