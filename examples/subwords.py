"""Words made of n-grams: vectors for words never seen, beside gensim's FastText.

The text is of a made-up language: a word is a stem and an ending, a sentence is of one topic. Every
tenth form never occurs. Run it as it stands:

    python examples/subwords.py

It prints, after each epoch, the share of the forms never seen whose nearest word of another stem is
of the same topic, and at the end the neighbors of some of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
from gensim.models import FastText
from gensim.models.callbacks import CallbackAny2Vec

import fastw2v

TOPICS, STEMS, ENDINGS = 10, 8, 12  # stems of each topic
SETTINGS = {"sg": 1, "vector_size": 50, "window": 4, "bucket": 20_000, "sample": 0, "seed": 1}


class Language:
    """Words by topic and stem, and sentences of those that occur."""

    def __init__(self) -> None:
        rng = np.random.default_rng(1)

        def syllables(number: int) -> str:
            letters = rng.choice(list("bdfgklmnprst"), number), rng.choice(list("aeiou"), number)
            return "".join(a + b for a, b in zip(*letters, strict=True))

        endings = [syllables(1 + number % 2) for number in range(ENDINGS)]
        stems = [syllables(3) for _ in range(TOPICS * STEMS)]
        forms = [(stem + ending, place) for place, stem in enumerate(stems) for ending in endings]
        self.stem = dict(forms)
        self.topic = {word: place // STEMS for word, place in forms}
        self.unseen = [word for word, _ in forms[7::10]]

    def sentences(self, number: int) -> list[list[str]]:
        rng = np.random.default_rng(2)
        seen = self.topic.keys() - set(self.unseen)
        of_topic = [sorted(word for word in seen if self.topic[word] == t) for t in range(TOPICS)]
        return [list(rng.choice(of_topic[t], 8)) for t in rng.integers(TOPICS, size=number)]


class Score(CallbackAny2Vec):
    """Prints the score after each epoch; both packages call it."""

    def __init__(self, name: str, language: Language) -> None:
        self._name, self._language = name, language
        self._epoch, self._begin = 0, time.perf_counter()

    def on_epoch_end(self, model: Any) -> None:
        self._epoch += 1
        model.wv.adjust_vectors()  # gensim makes the vectors of words when training has ended
        language, words = self._language, model.wv.index_to_key
        units = model.wv.vectors / np.linalg.norm(model.wv.vectors, axis=1, keepdims=True)
        stems = np.array([language.stem[word] for word in words])
        hits = 0
        for word in language.unseen:
            cosines = units @ model.wv[word]
            cosines[stems == language.stem[word]] = -np.inf
            hits += language.topic[words[cosines.argmax()]] == language.topic[word]
        share = hits / len(language.unseen)
        print(f"{self._name:<8} epoch {self._epoch}  unseen {share:.3f}", flush=True)

    def on_train_end(self, model: Any) -> None:
        # To stderr: what goes to stdout is the same at every run.
        print(f"{self._name:<8} {time.perf_counter() - self._begin:.2f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the text")
    parser.add_argument("--no-gensim", action="store_true", help="leave gensim out")
    parser.add_argument("--quick", action="store_true", help="a quarter of the text")
    arguments = parser.parse_args()

    language = Language()
    text = language.sentences(1_000 if arguments.quick else 4_000)
    settings = {**SETTINGS, "epochs": arguments.epochs, "workers": 1}
    print(f"{8 * len(text):,} words, {len(language.unseen)} forms that are not among them")
    model = fastw2v.FastText(**settings)
    model.build_vocab(text)
    model.train(text, callbacks=[Score("fastw2v", language)])
    if not arguments.no_gensim:
        other = FastText(**settings)
        other.build_vocab(text)
        other.train(
            text,
            total_examples=len(text),
            epochs=arguments.epochs,
            callbacks=[Score("gensim", language)],
        )
    for word in language.unseen[::20]:
        neighbors = ", ".join(near for near, _ in model.wv.most_similar(word, topn=5))
        print(f"{word:>12}: {neighbors}")


if __name__ == "__main__":
    main()
