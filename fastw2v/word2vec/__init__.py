"""Word vectors. Each package may import those above it, and none below:

files      how any file is written
corpus     text, its words and phrases, and how often they occur
vectors    word vectors: questions, evaluation, file formats
maps       maps of words
training   `fastw2v.Word2Vec`, which trains word vectors; it alone imports TensorFlow
"""

from __future__ import annotations

from fastw2v._core import lazy

__all__ = ["corpus", "maps", "training", "vectors"]
__getattr__, __dir__ = lazy.names(__name__, modules=__all__)
