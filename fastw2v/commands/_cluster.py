"""The workers among whom a command shares its work: those of the environment variable TF_CONFIG."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any


def num_workers() -> int:
    """How many workers there are; 1 where there is no cluster.

    Raises:
        ValueError: TF_CONFIG does not describe one.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    try:
        config: Any = json.loads(text or "{}")
        cluster = config.get("cluster") or {}
        return max(1, len(cluster.get("chief", [])) + len(cluster.get("worker", [])))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"TF_CONFIG = {text[:200]!r} does not describe a cluster: it is JSON of the form "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", '
            '"index": 0}}; unset it to train alone'
        ) from error


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """The scope of the strategy of all workers, who wait for each other here."""
    if num_workers() == 1:
        yield
        return
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # word vectors are trained on the CPU
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        yield
