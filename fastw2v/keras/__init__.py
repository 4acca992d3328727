"""Keras layers: an embedding whose gradient holds each row once, and loss layers over many classes.

A loss layer holds a row of weights for each class. It is called with activations and labels, adds
the mean loss to the model and returns the loss of each example, so that a model is compiled without
a loss::

    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = fastw2v.keras.Embedding(10_000, 64)(ids)
    losses = fastw2v.keras.SampledSoftmax(10_000, num_sampled=64)(hidden, labels)
    model = keras.Model([ids, labels], losses)
    model.compile("sgd")
    model.fit([centers, contexts])

Labels are an input of the model and not a target: ``keras.losses.Loss`` casts targets to float32,
which changes ids above 2**24. Predictions come from the layer's method ``top_k``.

What the layers have in common:

* **Losses** are in nats, computed and returned in float32 (float64 for weights of float64) under
  every dtype policy. The mean that is added is the sum of the weighted losses divided by the sum of
  the weights of the examples that are not ignored. An example that the mask of the activations
  leaves out has the weight 0.
* **Gradients** of tables of which a step uses some rows only are ``tf.IndexedSlices`` with unique,
  ascending rows. A regularizer makes them dense.
* **Ids and labels** are integers. Floats are taken, as by ``keras.layers.Embedding``, where their
  dtype holds all ids of the table exactly: float32 up to 2**24 rows. So ``keras.Input`` without a
  dtype works there.
* **Weights of examples** are an input of a loss layer, ``head(hidden, labels, sample_weight)``:
  Keras does not pass to layers the ``sample_weight`` of ``fit`` (a warning says so)
  or ``class_weight`` (which Keras refuses in a model without targets).
* **Saved models** load after ``import fastw2v``, without pending updates; what `fastw2v.export`
  writes loads without it. ``model.export`` and ``tf.saved_model.save`` work as always; functions
  that were called before, and are exported then, were traced within
  ``with optimizer.finalized():``.
* **XLA**: with ``jit_compile="auto"`` the layers are not compiled by it, so that the fused ops run;
  with ``jit_compile=True`` they are composed from TensorFlow's, as the losses are. On a machine
  with a GPU, where Keras does not say which of both it is asked for, the fused ops always run.
"""

from __future__ import annotations

import keras

from fastw2v import samplers
from fastw2v.keras.adaptive import AdaptiveSoftmax
from fastw2v.keras.base import PACKAGE
from fastw2v.keras.embedding import Embedding
from fastw2v.keras.growing import GrowingEmbedding
from fastw2v.keras.heads import NCE, LinearCrossEntropy, NegativeSampling, SampledSoftmax
from fastw2v.keras.loss_layer import TopK
from fastw2v.keras.ranking import NDCG, MeanReciprocalRank, RecallAtK
from fastw2v.keras.retrieval import InBatchSoftmax, StreamingLogQ

__all__ = [
    "AdaptiveSoftmax",
    "Embedding",
    "GrowingEmbedding",
    "InBatchSoftmax",
    "LinearCrossEntropy",
    "MeanReciprocalRank",
    "NCE",
    "NDCG",
    "NegativeSampling",
    "RecallAtK",
    "SampledSoftmax",
    "StreamingLogQ",
    "TopK",
]

for _sampler in (samplers.Uniform, samplers.LogUniform, samplers.Unigram):
    keras.saving.register_keras_serializable(PACKAGE)(_sampler)
