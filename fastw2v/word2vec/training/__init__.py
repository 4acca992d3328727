"""Training of word vectors: `fastw2v.Word2Vec`, its settings and what it is made of.

Importing this package imports no TensorFlow: its names are found when they are first used.
"""

from __future__ import annotations

from fastw2v._core import lazy

_HOMES = {
    "Doc2Vec": "fastw2v.word2vec.training.documents",
    "DocumentSettings": "fastw2v.word2vec.training.settings",
    "FastText": "fastw2v.word2vec.training.fasttext",
    "HuffmanTree": "fastw2v.word2vec.training.train_op",
    "NoVocabularyError": "fastw2v.word2vec.training.model_words",
    "Progress": "fastw2v.word2vec.training.passes",
    "Settings": "fastw2v.word2vec.training.settings",
    "SubwordSettings": "fastw2v.word2vec.training.settings",
    "Trained": "fastw2v.word2vec.training.train_op",
    "Word2Vec": "fastw2v.word2vec.training.model",
    "WordBags": "fastw2v.word2vec.training.train_op",
    "huffman_tree": "fastw2v.word2vec.training.train_op",
    "infer_documents": "fastw2v.word2vec.training.train_op",
    "keep_probability": "fastw2v.word2vec.training.train_op",
    "noise_table": "fastw2v.word2vec.training.train_op",
    "train_block": "fastw2v.word2vec.training.train_op",
    "word_bags": "fastw2v.word2vec.training.train_op",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.names(__name__, _HOMES)
