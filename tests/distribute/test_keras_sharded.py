"""Keras layers whose tables are cut among replicas."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import run_processes

import fastw2v
from fastw2v.keras import NCE, Embedding, LinearCrossEntropy, NegativeSampling, SampledSoftmax

PROGRAM = Path(__file__).parent / "programs" / "keras_sharded.py"


@pytest.mark.slow
def test_replicas_of_one_process(tmp_path):
    finished = run_processes(1, PROGRAM, tmp_path)
    assert "all checks passed" in finished.stdout, finished.stderr


@pytest.mark.slow
def test_processes():
    finished = run_processes(2, PROGRAM)
    for rank in range(2):
        assert f"[{rank}] all checks passed" in finished.stdout, finished.stderr


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: Embedding(5, 3, **options),
        lambda **options: LinearCrossEntropy(5, **options),
        lambda **options: SampledSoftmax(5, 2, **options),
        lambda **options: NCE(5, 2, **options),
        lambda **options: NegativeSampling(5, 2, **options),
    ],
)
def test_configs_keep_the_argument(make):
    for sharded in (False, True):
        layer = make(sharded=sharded)
        config = keras.saving.serialize_keras_object(layer)
        assert config["config"]["sharded"] is sharded
        assert keras.saving.deserialize_keras_object(config).sharded is sharded
    assert not make().sharded


def test_one_replica_has_the_whole():
    values = []
    for sharded in (False, True):
        keras.utils.set_random_seed(2)
        embedding = Embedding(9, 4, sharded=sharded)
        head = SampledSoftmax(7, 3, sharded=sharded)
        losses = head(embedding(tf.range(9)), tf.range(9) % 7)
        values.append([losses, *embedding.get_weights(), *head.get_weights()])
        assert type(embedding.embeddings.value) is fastw2v._core.tf_internals.PlainVariable
    for one, other in zip(*values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_needs_whole_tables_is_refused():
    words = "embeddings_regularizer = .* does not work with sharded=True"
    with pytest.raises(ValueError, match=words):
        Embedding(5, 3, embeddings_regularizer="l2", sharded=True)
    with pytest.raises(ValueError, match="weights_constraint = .* does not work"):
        LinearCrossEntropy(5, weights_constraint="non_neg", sharded=True)


@pytest.mark.parametrize("sharded", [False, True])
def test_layers_that_share_a_table_are_sharded_alike(sharded):
    embedding = Embedding(5, 3, sharded=not sharded)
    words = f"sharded = {sharded}, and of weights_from = {embedding.name} it is {not sharded}"
    with pytest.raises(ValueError, match=words):
        LinearCrossEntropy(5, sharded=sharded, weights_from=embedding)
