"""Formats of files of word vectors.

`WordVectors.load` and `WordVectors.save` are the public functions. `choice` finds the format of
a file; each has a module of its own: `word2vec_format` (word2vec's text and binary, GloVe's text),
`npz`, `gensim_files`, `fasttext_format`, `model_file` and `projector`.
"""

from fastw2v.word2vec.vectors.formats.choice import SUFFIXES, format_of, read
from fastw2v.word2vec.vectors.formats.contents import Contents, SubwordTable, check_subwords
from fastw2v.word2vec.vectors.formats.fasttext_format import write_fasttext
from fastw2v.word2vec.vectors.formats.npz import write_npz
from fastw2v.word2vec.vectors.formats.projector import write_projector
from fastw2v.word2vec.vectors.formats.word2vec_format import (
    read_counts,
    read_word2vec,
    write_counts,
    write_word2vec,
)

__all__ = [
    "SUFFIXES",
    "Contents",
    "SubwordTable",
    "check_subwords",
    "format_of",
    "read",
    "read_counts",
    "read_word2vec",
    "write_counts",
    "write_fasttext",
    "write_npz",
    "write_projector",
    "write_word2vec",
]
