"""A model trained with a sampled softmax, served where this library is not installed.

    python examples/serving.py

A model learns which item follows which, out of 20,000, and is exported with its ten best items for
a request: by `fastw2v.export`, which writes a SavedModel of TensorFlow's own ops, and as it would
be without this library, as Keras' `Dense` layer of the same weights with `tf.math.top_k`, exported
by Keras. Another program, which cannot import fastw2v, loads both and answers the same requests,
as does the interpreter of TFLite from a file that is made of the first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import fastw2v

NUM_ITEMS = 20_000
DIM = 32
BATCH = 1024
REQUESTS = 8

# What a server does. It has no fastw2v: here, where there is one, its import is forbidden.
SERVER = """
import json, sys, time
sys.modules["fastw2v"] = None
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
answer = loaded.signatures["serving_default"]
items = tf.constant(json.loads(sys.argv[2]), tf.int64)
(name,) = answer.structured_input_signature[1]
answer(**{name: items})
start = time.perf_counter()
for _ in range(20):
    best = answer(**{name: items})
seconds = (time.perf_counter() - start) / 20
print(json.dumps([best["output_1"].numpy().tolist(), seconds]))
"""


def make_followers(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Items, and the item that follows each: one of three."""
    rng = np.random.default_rng(1)
    followers = rng.integers(0, NUM_ITEMS, [NUM_ITEMS, 3])
    items = rng.integers(0, 500, number)  # few occur
    return items, followers[items, rng.integers(0, 3, number)]


def trained(items: np.ndarray, following: np.ndarray, epochs: int) -> keras.Model:
    """The predictor: of an item, the logits and numbers of the ten best."""
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = fastw2v.keras.Embedding(NUM_ITEMS, DIM)(ids)
    head = fastw2v.keras.SampledSoftmax(NUM_ITEMS, num_sampled=512, sampler="uniform", seed=1)
    model = keras.Model([ids, labels], head(hidden, labels))
    model.compile(fastw2v.optimizers.Adam(0.02))
    for epoch in range(1, epochs + 1):
        loss = model.fit([items, following], batch_size=BATCH, verbose=0).history["loss"][-1]
        print(f"epoch {epoch}  loss {loss:.3f}")
    return keras.Model(ids, head.top_k(hidden, k=10))


def of_keras(predictor: keras.Model) -> keras.Model:
    """The same of layers of Keras alone."""
    embeddings, weights, biases = predictor.get_weights()
    ids = keras.Input([], dtype="int64")
    hidden = keras.layers.Embedding(NUM_ITEMS, DIM)(ids)
    logits = keras.layers.Dense(NUM_ITEMS)(hidden)
    model = keras.Model(ids, keras.ops.top_k(logits, 10))
    model.set_weights([embeddings, weights.T, biases])
    return model


def served(path: Path, requests: np.ndarray) -> tuple[np.ndarray, float]:
    """What another program answers, and the seconds of an answer."""
    run = subprocess.run(
        [sys.executable, "-c", SERVER, str(path), json.dumps(requests.tolist())],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    classes, seconds = json.loads(run.stdout)
    return np.array(classes), seconds


def by_tflite(path: Path, requests: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The same of TFLite, and the bytes of its file."""
    content = tf.lite.TFLiteConverter.from_saved_model(str(path)).convert()
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
    (name,) = runner.get_input_details()
    runner(**{name: requests})
    start = time.perf_counter()
    best = runner(**{name: requests})
    return best["output_1"], time.perf_counter() - start, len(content)


def size(path: Path) -> str:
    graph = (path / "saved_model.pb").stat().st_size
    variables = sum(file.stat().st_size for file in (path / "variables").iterdir())
    return f"graph {graph / 1e3:.0f} kB, variables {variables / 1e6:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=4, help="passes over the pairs")
    parser.add_argument("--quick", action="store_true", help="a tenth of the pairs")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(1)
    items, following = make_followers(20_000 if arguments.quick else 200_000)
    predictor = trained(items, following, arguments.epochs)
    requests = items[:REQUESTS]
    expected = np.array(predictor(requests)[1])
    right = np.mean([label in best for label, best in zip(following, expected, strict=False)])
    print(f"the item that follows is among the ten best in {right:.0%} of the requests")

    def compare(name: str, classes: np.ndarray, seconds: float, how: str) -> None:
        same = int(np.sum(np.all(classes == expected, axis=1)))
        print(f"{name:<8}  {same} of {REQUESTS} answers are those of the trained model; {how}")
        # To stderr: what goes to stdout is the same at every run.
        print(f"{name:<8}  {seconds * 1e3:.2f} ms for {REQUESTS} requests", file=sys.stderr)

    with tempfile.TemporaryDirectory() as directory:
        ours, theirs = Path(directory, "fastw2v"), Path(directory, "keras")
        fastw2v.export(predictor, ours)
        compare("fastw2v", *served(ours, requests), size(ours))
        of_keras(predictor).export(theirs, verbose=False)
        compare("Keras", *served(theirs, requests), size(theirs))
        classes, seconds, length = by_tflite(ours, requests)
        compare("TFLite", classes, seconds, f"{length / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
