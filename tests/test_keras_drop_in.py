"""The layers in the place of those of Keras: what they take, and what Keras does with them."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import run_python

import fastw2v
from fastw2v.keras import Embedding, LinearCrossEntropy, SampledSoftmax, TopK

ROWS, DIM = 20, 4
MATRIX = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh_state():
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)


def inputs():
    return keras.Input([], dtype="int64"), keras.Input([], dtype="int64")


def tied_model():
    ids, labels = inputs()
    embedding = Embedding(ROWS, DIM)
    head = SampledSoftmax(ROWS, 3, weights_from=embedding, exact_evaluation=True)
    hidden = embedding(ids)
    return keras.Model([ids, labels], head(hidden, labels)), embedding, head, (ids, hidden)


# ---- Ids -----------------------------------------------------------------------------------------


def test_a_sequential_model_of_integers_whose_input_keras_makes_floats():
    model = keras.Sequential(
        [Embedding(ROWS, DIM), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    before = model.fit(np.full((8, 6), 3), np.ones(8), verbose=0) and model.get_weights()[0]
    model.fit(np.full((8, 6), 3), np.ones(8), verbose=0)
    changed = np.flatnonzero(np.any(model.get_weights()[0] != before, axis=1))
    assert changed.tolist() == [3]


def test_floats_are_refused_where_they_are_not_exact():
    layer = Embedding(257, 1)
    np.testing.assert_array_equal(layer(tf.constant([256.0])), layer(tf.constant([256])))
    with pytest.raises(ValueError, match=r"dtype bfloat16, which is exact for ids up to 2\*\*8"):
        layer(tf.constant([1.0], tf.bfloat16))


def test_labels_may_be_floats_too():
    ids, _ = inputs()
    labels = keras.Input([])
    head = LinearCrossEntropy(ROWS)
    model = keras.Model([ids, labels], head(Embedding(ROWS, DIM)(ids), labels))
    data = np.arange(8)
    np.testing.assert_array_equal(
        model.predict([data, data.astype("float32")], verbose=0),
        model.predict([data, data], verbose=0),
    )


def test_sparse_and_ragged_ids():
    layer = Embedding(ROWS, DIM, weights=MATRIX)
    dense = np.array([[3, 0, 4], [0, 5, 0]])
    np.testing.assert_array_equal(layer(tf.sparse.from_dense(dense)), MATRIX[dense])
    assert layer(keras.Input([None], dtype="int64", ragged=True)).ragged


# ---- What the constructor of Keras takes ---------------------------------------------------------


@pytest.mark.parametrize("weights", [MATRIX, [MATRIX]])
def test_pretrained_weights(weights):
    np.testing.assert_array_equal(Embedding(ROWS, DIM, weights=weights).embeddings, MATRIX)


def test_configs_of_the_layer_of_keras():
    stock = keras.layers.Embedding(ROWS, DIM, mask_zero=True, name="words")
    ours = Embedding.from_config(stock.get_config())
    assert (ours.input_dim, ours.output_dim, ours.mask_zero, ours.name) == (20, 4, True, "words")
    with pytest.warns(UserWarning, match="input_length has no effect"):
        Embedding(ROWS, DIM, input_length=3)
    with pytest.raises(ValueError, match="lora_rank is an option of keras.layers.Embedding"):
        Embedding(ROWS, DIM, lora_rank=2)


# ---- Bags ----------------------------------------------------------------------------------------

BAGS = {
    "padded": (tf.constant([[3, 4, -1], [-1, -1, -1]]), tf.constant([[2.0, 1, 7], [1, 1, 1]])),
    "ragged": (
        tf.ragged.constant([[3, 4], []], dtype=tf.int64),
        tf.ragged.constant([[2.0, 1], []]),
    ),
    "sparse": (
        tf.SparseTensor([[0, 0], [0, 2]], tf.constant([3, 4]), [2, 3]),
        tf.SparseTensor([[0, 0], [0, 2]], [2.0, 1.0], [2, 3]),
    ),
}
COMBINED = {"sum": (1, 1), "mean": (2, 3), "sqrtn": (2**0.5, 5**0.5)}


@pytest.mark.parametrize("form", BAGS)
@pytest.mark.parametrize("combiner", COMBINED)
def test_weighted_and_empty_bags(combiner, form):
    layer = Embedding(ROWS, DIM, weights=MATRIX, combiner=combiner, empty_bags="zeros")
    bags, weights = BAGS[form]
    plain, weighted = COMBINED[combiner]
    expected = [(MATRIX[3] + MATRIX[4]) / plain, np.zeros(DIM)]
    np.testing.assert_allclose(layer(bags), expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        rows = layer(bags, weights)
    np.testing.assert_allclose(rows, [(2 * MATRIX[3] + MATRIX[4]) / weighted, np.zeros(DIM)], 1e-5)
    slices = tape.gradient(rows, layer.embeddings.value)
    assert slices.indices.numpy().tolist() == [3, 4]
    np.testing.assert_allclose(slices.values[:, 0], np.array([2, 1]) / weighted, rtol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="empty bag"):
        Embedding(ROWS, DIM, combiner=combiner)(bags, weights)


def test_weighted_bags_under_xla():
    layer = Embedding(ROWS, DIM, weights=MATRIX, combiner="sqrtn", empty_bags="zeros")
    got = tf.function(lambda: layer(*BAGS["padded"]), jit_compile=True)()
    np.testing.assert_allclose(got, layer(*BAGS["padded"]), rtol=1e-5)


def test_bags_along_the_last_of_more_axes():
    layer = Embedding(ROWS, DIM, weights=MATRIX, combiner="sum")
    bags = [[[3, 4], [5, -1]], [[1, 1], [2, 2]]]
    expected = [[MATRIX[3] + MATRIX[4], MATRIX[5]], [2 * MATRIX[1], 2 * MATRIX[2]]]
    np.testing.assert_allclose(layer(tf.constant(bags)), expected, rtol=1e-5)
    ragged = layer(tf.ragged.constant([[[3, 4], [5]], [[1, 1], [2, 2]]]))
    np.testing.assert_allclose(ragged.to_tensor(), expected, rtol=1e-5)
    assert layer(keras.Input([None, 5], dtype="int32")).shape == (None, None, DIM)


def test_weights_have_the_form_of_the_bags():
    layer = Embedding(ROWS, DIM, combiner="sum")
    with pytest.raises(
        ValueError, match=r"weights is a \w*Tensor of shape \(1, 2\), expected the form"
    ):
        layer(tf.constant([[1, 2, 3]]), tf.ones([1, 2]))
    with pytest.raises(ValueError, match="weights need a combiner"):
        Embedding(ROWS, DIM)(tf.constant([1]), tf.ones([1]))


# ---- Models --------------------------------------------------------------------------------------


def test_jit_compile_compiles_the_layers_where_there_is_no_gpu():
    losses = []
    for jit_compile in (True, False):
        keras.utils.set_random_seed(1)
        ids, labels = inputs()
        model = keras.Model(
            [ids, labels], LinearCrossEntropy(ROWS)(Embedding(ROWS, DIM)(ids), labels)
        )
        model.compile(fastw2v.optimizers.Adam(0.1), jit_compile=jit_compile)
        gpus = tf.config.list_physical_devices("GPU")
        assert model.jit_compile == (jit_compile and not gpus)
        data = [np.arange(ROWS)] * 2
        fitted = model.fit(data, batch_size=4, epochs=2, shuffle=False, verbose=0)
        losses.append(fitted.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_predictor_is_a_model_that_can_be_saved(tmp_path):
    model, _, head, (ids, hidden) = tied_model()
    predictor = keras.Model(ids, head.top_k(hidden, 3))
    assert isinstance(predictor.layers[-1], TopK)
    predictor.save(tmp_path / "predictor.keras")
    loaded = keras.saving.load_model(tmp_path / "predictor.keras")
    assert len(loaded.weights) == len(model.weights)
    for ours, theirs in zip(
        *(each.predict(np.arange(5), verbose=0) for each in (predictor, loaded)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_ties_that_are_lost_are_told():
    model, *_ = tied_model()
    with pytest.warns(UserWarning, match="no longer shares its table with the model"):
        copy = keras.models.clone_model(model)
    assert len(copy.trainable_weights) == len(model.trainable_weights) + 1


def test_weights_of_examples_that_do_not_count_are_told():
    model, *_ = tied_model()
    model.compile("sgd")
    data = [np.arange(ROWS)] * 2
    with pytest.warns(UserWarning, match="sample_weight of fit or evaluate has no effect"):
        model.fit(data, sample_weight=np.zeros(ROWS), verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.evaluate(data, verbose=0)


def test_what_python_reads_and_exports_in_the_middle_of_training_has_no_pending_updates(tmp_path):
    """By default the optimizer has pending updates."""
    model, embedding, head, _ = tied_model()
    data = [np.arange(ROWS)] * 2
    model.compile(fastw2v.optimizers.Adam(0.1))
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen["weights"] = self.model.get_weights()
            self.model.export(str(tmp_path), verbose=False)

    model.fit(data, batch_size=2, verbose=0, callbacks=[Look()])
    for read, final in zip(seen["weights"], model.get_weights(), strict=True):
        np.testing.assert_allclose(read, final, rtol=1e-5)
    loaded = tf.saved_model.load(str(tmp_path))
    losses = loaded.serve([tf.constant(part) for part in data])
    np.testing.assert_allclose(losses, model.predict(data, verbose=0), rtol=1e-5)


def test_values_that_are_assigned_are_not_added_to():
    layer, optimizer = Embedding(ROWS, DIM), fastw2v.optimizers.Adam(0.1)
    for ids in ([1], [2]):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(ids)))
        table = layer.embeddings
        optimizer.apply_gradients([(tape.gradient(loss, table.value), table)])
    layer.set_weights([MATRIX])
    optimizer.finalize()
    np.testing.assert_array_equal(layer.embeddings, MATRIX)


def test_outside_the_replicas_of_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = keras.Sequential([keras.Input([3], dtype="int64"), Embedding(ROWS, DIM)])
        model.compile(fastw2v.optimizers.Adam(0.1, lazy=True), "mse")
    model.fit(np.ones([4, 3], np.int64), np.ones([4, 3, DIM]), verbose=0)
    assert model.layers[0](tf.constant([[1, 2, 3]])).shape == (1, 3, DIM)


# ---- Another Keras -------------------------------------------------------------------------------


def test_keras_2_is_recognized():
    program = """
import os, warnings
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import keras, tensorflow as tf, fastw2v
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    layer, optimizer = fastw2v.keras.Embedding(5, 2), fastw2v.optimizers.SGD(0.1)
print(len([w for w in caught if "TF_USE_LEGACY_KERAS makes `tf.keras` Keras 2" in str(w.message)]))
class KerasTensor: pass
KerasTensor.__module__ = "tf_keras.src.engine.keras_tensor"
for call in (
    lambda: layer(KerasTensor()),
    lambda: fastw2v.train_step(KerasTensor(), fastw2v.softmax_loss),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""
    printed = run_python(program).splitlines()
    assert printed[-3] == "2"
    assert printed[-2].startswith("inputs is of Keras 2 (tf_keras.KerasTensor), expected Keras 3")
    assert printed[-1].startswith(
        "optimizer is of Keras 2 (tf_keras.KerasTensor), expected Keras 3"
    )


def test_another_backend_is_named(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    for make in (lambda: Embedding(5, 2), fastw2v.optimizers.SGD):
        with pytest.raises(
            RuntimeError, match='on the backend "jax", .*set KERAS_BACKEND=tensorfl'
        ):
            make()
