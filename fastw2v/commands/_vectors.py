"""The file of word vectors that a command reads, and the words that are looked up in it."""

from __future__ import annotations

import argparse

from fastw2v.commands._options import count
from fastw2v.word2vec.vectors import WordVectors
from fastw2v.word2vec.vectors.formats import SUFFIXES

FORMATS = (
    "text and binary are those of word2vec (.txt or .vec, .bin), glove is text without a first "
    "line (.glove), npz is NumPy's (.npz), gensim is what KeyedVectors.save and Word2Vec.save "
    "write (.kv, .model; nothing in such a file is run), projector a directory for TensorBoard. "
    "Files of text, binary and glove may be compressed by gzip. Models and checkpoints of fastw2v "
    "are read under any name, and so are fastText's, which have vectors for words never seen."
)


def add_vectors(parser: argparse.ArgumentParser) -> None:
    """Adds the file and how it is read."""
    parser.add_argument("vectors", metavar="VECTORS", help="file of word vectors")
    add_format(parser, "--format")


def add_format(parser: argparse.ArgumentParser, option: str) -> None:
    """Adds the format in which vectors are read."""
    readable = [name for name in SUFFIXES if name != "projector"]
    parser.add_argument(
        option,
        dest="format",
        choices=readable,
        metavar="FORMAT",
        help=f"format of VECTORS: {', '.join(readable)} (default: what the file holds, "
        "or as the name ends)",
    )
    parser.add_argument(
        "--unicode-errors",
        choices=["strict", "ignore", "replace"],
        default="strict",
        metavar="WAY",
        help="what to do with words that are not UTF-8: strict is an error, ignore leaves the "
        "bytes out, replace puts a sign in their place (default: strict)",
    )


def add_restrict_vocab(parser: argparse.ArgumentParser, default: int | None = None) -> None:
    """Adds the number of words that are looked at."""
    shown = "all" if default is None else default
    parser.add_argument(
        "--restrict-vocab",
        type=count,
        default=default,
        metavar="N",
        help=f"look only among the N most frequent words (default: {shown})",
    )


def load(options: argparse.Namespace, limit: int | None = None) -> WordVectors:
    """Returns the vectors of the file that the options name."""
    return WordVectors.load(
        options.vectors, options.format, unicode_errors=options.unicode_errors, limit=limit
    )


def print_neighbors(neighbors: list[tuple[str, float]]) -> None:
    """Prints words and their cosines, a line each."""
    width = max((len(word) for word, _ in neighbors), default=0)
    for word, cosine in neighbors:
        print(f"  {word:{width}}  {cosine:.3f}")
