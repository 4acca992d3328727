"""SIGKILL at random moments of saving, and of training with a checkpoint: the file is a whole one,
the one before or the one after, and partial files are gone after the next save.

A case forks, so it runs nothing of TensorFlow itself: what trains and what reads is a fork too.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastw2v
from fuzzing.harness import Case, Fault

SECONDS, MEGABYTES = 60.0, 1024.0
_WORDS = 2000
_FORK_SECONDS = 30.0
_fork = multiprocessing.get_context("fork")


def case(case: Case) -> None:
    if case.chance(0.7):
        name = case.one_of("v.txt", "v.bin", "v.npz", "v.glove", "v.txt.gz")
        write, read = _save_again_and_again, _read_vectors
    else:
        name, write, read = "words.model", _train_with_checkpoint, _read_model
    path = case.directory / name
    _run(_save_one, path)
    for _ in range(case.size(3)):
        writer = _fork.Process(target=write, args=(path,))
        writer.start()
        # Enough for the start of TensorFlow where the writer trains.
        time.sleep(float(case.rng.uniform(0, 0.2 if read is _read_vectors else 1.5)))
        writer.kill()
        writer.join()
        _run(read, path)
    _run(_save_one, path)
    left = sorted(entry.name for entry in case.directory.iterdir() if entry != path)
    if left:
        raise Fault(f"{name}: after the next save there are partial files: {left[:3]}")


def _run(function: Callable[[Path], None], path: Path) -> None:
    """Runs it in a fork; what it raises is raised here."""
    receiver, sender = _fork.Pipe(duplex=False)
    process = _fork.Process(target=_report, args=(sender, function, path))
    process.start()
    sender.close()
    text: Any = f"took longer than {_FORK_SECONDS} s"
    try:
        if receiver.poll(_FORK_SECONDS):
            text = receiver.recv()
    except EOFError:
        text = "ended"
    process.kill()
    process.join()
    if text is not None:
        raise Fault(f"{path.name}, {function.__name__.strip('_')}: {text}")


def _report(sender: Any, function: Callable[[Path], None], path: Path) -> None:
    try:
        function(path)
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send(None)


def _vectors(value: float) -> Any:
    """All vectors of a file are equal, so that two saves in one file are seen."""
    vectors = np.full((_WORDS, 40), value, np.float32)
    return fastw2v.WordVectors([f"word{row}" for row in range(_WORDS)], vectors)


def _save_one(path: Path) -> None:
    if path.name.endswith(".model"):
        _model(epochs=1).save(path)
    else:
        _vectors(0.5).save(path)


def _save_again_and_again(path: Path) -> None:
    end = time.monotonic() + _FORK_SECONDS
    while time.monotonic() < end:
        for value in (1.5, 2.5):
            _vectors(value).save(path)


def _read_vectors(path: Path) -> None:
    vectors = np.asarray(fastw2v.WordVectors.load(path).vectors)
    if vectors.shape != (_WORDS, 40) or len(np.unique(vectors)) != 1:
        raise Fault(f"{vectors.shape}, values {np.unique(vectors)[:5]}")


def _model(**options: Any) -> Any:
    text = [[f"word{word}" for word in range(at, at + 20)] for at in range(0, 400, 20)] * 10
    return fastw2v.Word2Vec(text, vector_size=64, min_count=1, sample=0, **options)


def _train_with_checkpoint(path: Path) -> None:
    _model(epochs=1000, checkpoint=path, checkpoint_every=0.01)


def _read_model(path: Path) -> None:
    model = fastw2v.Word2Vec.load(path)
    if len(model.wv) != 400 or not np.isfinite(np.asarray(model.wv.vectors)).all():
        raise Fault(f"{len(model.wv)} words, or vectors that are not finite")
