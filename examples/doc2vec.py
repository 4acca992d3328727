"""Vectors of documents by PV-DBOW, beside gensim, by the same lines.

The documents are Lee's 300 news texts, which gensim brings. Run it as it stands:

    pip install gensim
    python examples/doc2vec.py

Four times during training it prints how many of the documents are nearest to the vector that is
inferred from their own words; at the end, which documents are nearest to a few others.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import gensim.models.doc2vec
import numpy as np
from gensim.test.utils import datapath

import fastw2v
from fastw2v.word2vec.corpus import tokenize

DIM = 50


def read_documents() -> list[list[str]]:
    """The words of each text, a line of the file."""
    lines = Path(datapath("lee_background.cor")).read_text(encoding="latin-1").splitlines()
    return [tokenize(line) for line in lines]


class Recall:
    """Prints the share of documents that are nearest to their own inferred vector."""

    def __init__(self, name: str, documents: list[list[str]], every: int) -> None:
        self.name, self.documents, self.every = name, documents, every
        self.seconds, self.epoch = 0.0, 0

    def on_epoch_end(self, model) -> None:
        self.epoch += 1
        if self.epoch % self.every:
            return
        begin = time.perf_counter()
        # fastw2v has infer_vectors, which takes all at once.
        inferred = [model.infer_vector(words) for words in self.documents]
        model.dv.fill_norms(force=True)  # gensim keeps lengths of earlier vectors
        found = [model.dv.most_similar([vector], topn=1)[0][0] for vector in inferred]
        recall = np.mean([tag == number for number, tag in enumerate(found)])
        print(f"{self.name:<8}  epoch {self.epoch}  recall {recall:.3f}")
        self.seconds += time.perf_counter() - begin

    def __getattr__(self, name: str) -> Callable[..., None]:
        if not name.startswith("on_"):  # gensim calls these, too
            raise AttributeError(name)
        return lambda model: None


def train(name: str, library: ModuleType, documents: list[list[str]], epochs: int):
    """The same for both libraries."""
    tagged = [library.TaggedDocument(words, [number]) for number, words in enumerate(documents)]
    model = library.Doc2Vec(vector_size=DIM, dm=0, min_count=2, epochs=epochs, seed=1, workers=1)
    model.build_vocab(tagged)
    recall = Recall(name, documents, max(epochs // 4, 1))
    begin = time.perf_counter()
    model.train(tagged, total_examples=model.corpus_count, epochs=model.epochs, callbacks=[recall])
    trained = time.perf_counter() - begin - recall.seconds
    # To stderr: what goes to stdout is the same at every run.
    print(f"{name:<8}  inference {recall.seconds:.2f} s, training {trained:.2f} s", file=sys.stderr)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=40, help="passes over the documents")
    parser.add_argument("--no-gensim", action="store_true", help="train with fastw2v alone")
    parser.add_argument("--quick", action="store_true", help="eight passes")
    arguments = parser.parse_args()

    documents = read_documents()
    print(f"{len(documents)} documents, {sum(map(len, documents)):,} words")
    epochs = 8 if arguments.quick else arguments.epochs
    model = train("fastw2v", fastw2v, documents, epochs)
    if not arguments.no_gensim:
        train("gensim", gensim.models.doc2vec, documents, epochs)
    for tag in (0, 100, 200):
        [(nearest, cosine)] = model.dv.most_similar(tag, topn=1)
        print(f"{' '.join(documents[tag][:9])} ...")
        print(f"   {cosine:.2f}  {' '.join(documents[nearest][:9])} ...")


if __name__ == "__main__":
    main()
