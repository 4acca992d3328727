"""Word vectors made of n-grams by fastw2v, gensim and fastText: speed and scores, in one run.

    python benchmarks/subwords.py --corpus books.txt.xz
    python benchmarks/subwords.py --words 500000 --epochs 1 --seeds 1

Two texts: an excerpt of `--corpus` (UTF-8, a sentence per line; without it, the docstrings of the
installed packages), and one of a made-up language whose words have many forms: each is one of 3
prefixes or none, one of 300 stems and one of 12 endings; the sentences are of 30 topics with 10
stems each, and a tenth of the forms never occurs. Scores:

    wordsim353, simlex999, analogies   of the excerpt, as gensim evaluates them
    unseen   of the language: the share of the forms that never occur whose nearest word of another
             stem is of the same topic

fastText is the package `fasttext`, of which `fasttext-numpy2` is a build for NumPy 2;
`--contestants fastw2v gensim` leaves it out. All have the same settings, but that its noise cannot
be set. gensim reads the text by `corpus_file`, its fastest way; it is given the number of sentences
of a thread, as otherwise its learning rate would stay higher than with one thread.

Each training is a process of its own, and the contestants take turns. Words per second are words of
the text by the time that the processors worked on training alone, so that other programs on the
machine count less; fastText's time is less that of training for no pass. With two threads the time
of a clock is about half of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import word2vec

OURS, GENSIM, FASTTEXT = "fastw2v", "gensim", "fastText"
CONTESTANTS = (OURS, GENSIM, FASTTEXT)
LANGUAGE = "a language of many forms"
SCORES = ("wordsim353", "simlex999", "analogies", "unseen")
COLUMNS = (
    *("text", "text_words", "form", "contestant", "seed", "threads", "epochs", "words_per_s"),
    *(*SCORES, "gensim"),
    *("cpu", "cores", "instruction_set", "fastw2v", "tensorflow", "pytorch", "python"),
)
RESULTS = Path(__file__).resolve().parent / "results" / "subwords.csv"
FORMS = {"skip-gram": 1, "CBOW": 0}
TOPICS, STEMS = 30, 10  # stems of each topic


# ---- a language ----------------------------------------------------------------------------------


def forms() -> dict[str, tuple[int, int]]:
    """The words of the language: the topic and the stem of each."""
    rng = np.random.default_rng(1)

    def syllables(number: int) -> str:
        return "".join(rng.choice(list("bdfgklmnprstvz")) + rng.choice(list("aeiou"))
                       for _ in range(number))  # fmt: skip

    prefixes = ["", *(syllables(1) for _ in range(3))]
    endings = [syllables(1 + number % 2) for number in range(12)]
    stems = [syllables(3) for _ in range(TOPICS * STEMS)]
    return {
        prefix + stem + ending: (place // STEMS, place)
        for place, stem in enumerate(stems)
        for prefix in prefixes
        for ending in endings
    }


def unseen() -> set[str]:
    """A tenth of the forms."""
    return {word for number, word in enumerate(forms()) if number % 10 == 7}


def write_language(path: Path, words: int) -> None:
    """Sentences of eight forms of one topic each."""
    rng = np.random.default_rng(2)
    hidden = unseen()
    of_topic: list[list[str]] = [[] for _ in range(TOPICS)]
    for word, (topic, _) in forms().items():
        if word not in hidden:
            of_topic[topic].append(word)
    with path.open("w") as file:
        for topic in rng.integers(TOPICS, size=words // 8):
            file.write(" ".join(rng.choice(of_topic[topic], 8)) + "\n")


def unseen_score(words: list[str], vectors: np.ndarray, vector_of: Any) -> float:
    known = forms()
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    of_words = np.array([known[word] for word in words])
    hits = []
    for word in sorted(unseen()):
        topic, stem = known[word]
        cosines = units @ vector_of(word)
        cosines[of_words[:, 1] == stem] = -np.inf
        hits.append(of_words[int(cosines.argmax()), 0] == topic)
    return float(np.mean(hits))


# ---- in a process of its own ---------------------------------------------------------------------


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Trains, and returns the seconds of the processors that one pass takes, and the scores."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    train = {OURS: _fastw2v, GENSIM: _gensim, FASTTEXT: _fasttext}[job["contestant"]]
    seconds, words, vectors, vector_of = train(job)
    if job["is_language"]:
        scores = {"unseen": unseen_score(words, vectors, vector_of)}
    else:
        scores = word2vec.scores(words, vectors)
    return {"seconds": seconds, **scores}


def _settings(job: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"sg": job["sg"], "epochs": job["epochs"], "seed": job["seed"]},
        **{"workers": job["threads"], "vector_size": 100, "bucket": job["bucket"]},
    }


def _fastw2v(job: dict[str, Any]) -> tuple[float, list[str], np.ndarray, Any]:
    import fastw2v

    model = fastw2v.FastText(**_settings(job))
    model.build_vocab(corpus_file=job["path"])
    begin = time.process_time()
    model.train()
    seconds = time.process_time() - begin
    return seconds, model.wv.words, model.wv.vectors, model.wv.get_vector


def _gensim(job: dict[str, Any]) -> tuple[float, list[str], np.ndarray, Any]:
    from gensim.models import FastText

    model = FastText(**_settings(job))
    model.build_vocab(corpus_file=job["path"])
    begin = time.process_time()
    model.train(
        corpus_file=job["path"],
        # Of each thread: the rate falls by the thread's own share of what stands here.
        total_examples=model.corpus_count // job["threads"],
        total_words=model.corpus_total_words,
        epochs=job["epochs"],
    )
    seconds = time.process_time() - begin
    return seconds, model.wv.index_to_key, model.wv.vectors, model.wv.get_vector


def _fasttext(job: dict[str, Any]) -> tuple[float, list[str], np.ndarray, Any]:
    import fasttext

    def train(epochs: int) -> Any:
        return fasttext.train_unsupervised(
            job["path"],
            model="skipgram" if job["sg"] else "cbow",
            **{"dim": 100, "lr": 0.025, "t": 1e-3, "minCount": 5, "bucket": job["bucket"]},
            **{"epoch": epochs, "thread": job["threads"], "verbose": 0},
        )

    begin = time.process_time()
    train(0)
    begin, before = time.process_time(), time.process_time() - begin
    model = train(job["epochs"])
    seconds = time.process_time() - begin - before
    words = [word for word in model.words if word != "</s>"]
    return seconds, words, np.array([model[word] for word in words]), model.get_word_vector


# ---- the benchmark -------------------------------------------------------------------------------


def main() -> None:
    options = _options()
    if options.job:
        print(json.dumps(work(json.loads(options.job))))
        return
    import harness
    import machine

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        whole = word2vec.whole_text(options, directory)
        excerpt = word2vec.excerpt_of(whole, options.words, directory)
        language = directory / "language.txt"
        write_language(language, min(options.words, 500_000))
        texts = [excerpt, word2vec.Text(language, LANGUAGE, sum(1 for _ in language.open()) * 8)]
        for text in texts:
            for seed in range(1, options.seeds + 1):
                for form, sg in FORMS.items():
                    for contestant in options.contestants:
                        job = {
                            **{"contestant": contestant, "path": str(text.path), "sg": sg},
                            **{"seed": seed, "epochs": options.epochs, "threads": options.threads},
                            **{"bucket": options.bucket, "is_language": text.name == LANGUAGE},
                        }
                        done = _done(job)
                        speed = options.epochs * text.words / done.pop("seconds")
                        speed *= options.threads
                        row = {
                            **{"text": text.name, "text_words": text.words, "form": form},
                            **{"contestant": contestant, "seed": seed, "words_per_s": speed},
                            **{"threads": options.threads, "epochs": options.epochs},
                            **{"gensim": metadata.version("gensim"), **done},
                        }
                        found = ", ".join(f"{name} {value:.3f}" for name, value in done.items())
                        print(f"  {text.name}: {form} {contestant} {seed}: {speed:,.0f}/s; {found}")
                        sys.stdout.flush()
                        rows.append(row | machine.description())
                        if options.output:
                            harness.write(options.output, COLUMNS, rows)


def _done(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{job} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, help="text, plain or .xz")
    parser.add_argument("--words", type=int, default=2_000_000, help="of the excerpt")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bucket", type=int, default=2_000_000)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=CONTESTANTS)
    parser.add_argument("--quick", action="store_true", help="a short text, once")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS}; with --quick: none")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.words, options.epochs, options.seeds, options.bucket = 20_000, 1, 1, 5_000
        options.contestants = [each for each in options.contestants if each != FASTTEXT]
    elif options.output is None:
        options.output = RESULTS
    return options


if __name__ == "__main__":
    main()
