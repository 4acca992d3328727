"""Training that is saved and goes on, in the same process or another, has the same bits as training
that was not interrupted."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import run_python

import fastw2v
from fastw2v import optimizers
from fastw2v._losses.lookup import lookup
from fastw2v.keras import Embedding, LinearCrossEntropy, NegativeSampling

CLASSES, DIM, BATCH = 40, 4, 4

OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(0.1, lazy=True),
    "adam_pending": lambda: optimizers.Adam(0.1, lazy=False),
    "momentum_pending": lambda: optimizers.SGD(0.1, momentum=0.9, lazy=False),
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9, lazy=True),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "averages": lambda: optimizers.Adagrad(0.1, use_ema=True, ema_momentum=0.9),
    "averages_pending": lambda: optimizers.AdamW(0.1, use_ema=True, lazy=False),
    "schedule_pending": lambda: optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.8), lazy=False
    ),
}
PENDING = [name for name in OPTIMIZERS if name.endswith("pending")]


@pytest.fixture(autouse=True)
def fresh_state():
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")


def pairs(part=slice(None)):
    """48 pairs, in which each step meets few of the rows."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, CLASSES, 48)[part], rng.integers(0, CLASSES, 48)[part]]


FIRST, SECOND = slice(0, 24), slice(24, 48)


def functional(optimizer):
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    embedding = Embedding(CLASSES, DIM)
    # The draws do not depend on what was drawn before: training can go on elsewhere.
    head = NegativeSampling(CLASSES, 5, seed=(3, 4), weights_initializer="glorot_uniform")
    model = keras.Model([ids, labels], head(embedding(ids), labels))
    model.compile(optimizer)
    return model


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """A model with a table of its own, whose pending updates no layer of this library applies."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = LinearCrossEntropy(CLASSES)
        self.embedding = Embedding(CLASSES, DIM)

    def build(self, input_shape=None):
        self.embedding.build()
        self.head.build([None, DIM])
        self.biases_of_ids = self.add_weight(shape=[CLASSES, DIM], name="biases_of_ids")

    def call(self, data):
        ids, labels = data
        hidden = self.embedding(ids) + fastw2v_rows(self.biases_of_ids, ids)
        return self.head(hidden, labels)


def fastw2v_rows(table, ids):
    """Rows of a table that no layer holds, read in a way that tells the optimizer."""
    return lookup(table, ids, None)


def subclassed(optimizer):
    model = Subclassed()
    model.compile(optimizer)
    model(pairs())
    return model


MODELS = {"functional": functional, "subclassed": subclassed}


def train(model, part, callbacks=(), epochs=1, **options):
    # Without `fit`'s shuffle a batch is the same wherever training goes on.
    model.fit(
        pairs(part),
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        epochs=epochs,
        **options,
    )


def bits(model):
    """All weights and all that the optimizer keeps."""
    return [np.asarray(v).tobytes().hex() for v in (*model.weights, *model.optimizer.variables)]


class Stop(keras.callbacks.Callback):
    """Saves in the middle of `fit`, when updates are pending, and ends training there."""

    def __init__(self, batch, save=lambda model: None, stop=True):
        super().__init__()
        self.batch, self.save, self.stop = batch, save, stop

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.save(self.model)
            if self.stop:
                raise KeyboardInterrupt


# ---- Models of Keras -----------------------------------------------------------------------------

GO_ON = """
import sys
import keras
import fastw2v
import test_saving

keras.utils.set_random_seed(9)
for path in sys.argv[1:]:
    model = keras.models.load_model(path)
    test_saving.train(model, test_saving.SECOND)
    print(*test_saving.bits(model))
"""


def test_training_goes_on_in_another_process(tmp_path):
    cases = [("functional", name) for name in OPTIMIZERS] + [("subclassed", "adam_pending")]
    expected, paths = [], []
    for kind, name in cases:
        keras.utils.set_random_seed(1)
        model = MODELS[kind](OPTIMIZERS[name]())
        train(model, FIRST)
        paths.append(str(tmp_path / f"{kind}_{name}.keras"))
        model.save(paths[-1])
        train(model, SECOND)
        expected.append(" ".join(bits(model)))
    printed = run_python(GO_ON, *paths).splitlines()
    assert printed[-len(expected) :] == expected


# ---- Callbacks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", PENDING)
def test_saved_in_the_middle_of_fit(name, kind, tmp_path):
    path = str(tmp_path / "half.weights.h5")
    save = Stop(5, lambda model: model.save_weights(path), stop=False)
    model = MODELS[kind](OPTIMIZERS[name]())
    train(model, slice(None), [save])

    other = MODELS[kind](OPTIMIZERS[name]())
    other.optimizer.build(other.trainable_variables)
    train(
        other, SECOND
    )  # what it holds, and what is pending, before the weights are loaded, is gone then
    other.load_weights(path)
    train(other, SECOND)
    assert bits(other) == bits(model)


@pytest.mark.parametrize("name", PENDING)
def test_weights_saved_in_the_middle_of_fit_are_those_of_the_dense_optimizer(name, tmp_path):
    path = str(tmp_path / "half.weights.h5")
    save = Stop(5, lambda model: model.save_weights(path))
    with pytest.raises(KeyboardInterrupt):
        train(functional(OPTIMIZERS[name]()), slice(None), [save])
    saved = functional(None)
    saved.load_weights(path)

    ours = OPTIMIZERS[name]()
    config = {k: v for k, v in ours.get_config().items() if k != "lazy"}
    dense = {"SGD": keras.optimizers.SGD, "AdamW": keras.optimizers.AdamW}
    keras.utils.set_random_seed(1)
    model = functional(dense.get(type(ours).__name__, keras.optimizers.Adam).from_config(config))
    with pytest.raises(KeyboardInterrupt):
        train(model, slice(None), [Stop(5)])
    for ours, theirs in zip(saved.weights, model.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer_first", [True, False])
@pytest.mark.parametrize("name", PENDING)
def test_the_order_in_which_layers_and_optimizer_are_saved(name, optimizer_first):
    def parts(model):
        layers = [layer for layer in model.layers if layer.weights]
        return [model.optimizer, *layers] if optimizer_first else [*layers, model.optimizer]

    stores = []

    def save(model):
        for part in parts(model):
            stores.append({})
            part.save_own_variables(stores[-1])
            for key, value in stores[-1].items():
                stores[-1][key] = keras.ops.convert_to_numpy(value).copy()

    model = functional(OPTIMIZERS[name]())
    train(model, slice(None), [Stop(5, save, stop=False)])
    other = functional(OPTIMIZERS[name]())
    other.optimizer.build(other.trainable_variables)
    for part, store in zip(parts(other), stores, strict=True):
        part.load_own_variables(store)
    train(other, SECOND)
    assert bits(other) == bits(model)


@pytest.mark.parametrize("weights_only", [True, False])
def test_model_checkpoint(weights_only, tmp_path):
    file = tmp_path / f"epoch1{'.weights.h5' if weights_only else '.keras'}"
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / file.name.replace("epoch1", "epoch{epoch}")), save_weights_only=weights_only
    )
    model = functional(OPTIMIZERS["adam_pending"]())
    train(model, FIRST, [checkpoint], epochs=2)
    if weights_only:
        other = functional(OPTIMIZERS["adam_pending"]())
        other.optimizer.build(other.trainable_variables)
        other.load_weights(file)
    else:
        other = keras.models.load_model(file)
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "other.keras"))
    train(other, FIRST, [checkpoint], epochs=2, initial_epoch=1)
    assert bits(other) == bits(model)


@pytest.mark.parametrize("name", ["adam", "adam_pending", "schedule_pending"])
def test_backup_and_restore(name, tmp_path):
    def backup(folder):
        return keras.callbacks.BackupAndRestore(str(tmp_path / folder))

    model = functional(OPTIMIZERS[name]())
    train(model, FIRST, [backup("a")], epochs=3)
    keras.utils.set_random_seed(1)
    interrupted = functional(OPTIMIZERS[name]())

    class Fails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(interrupted, FIRST, [backup("b"), Fails()], epochs=3)
    keras.utils.set_random_seed(7)
    resumed = functional(OPTIMIZERS[name]())
    train(resumed, FIRST, [backup("b")], epochs=3)
    assert bits(resumed) == bits(model)


@pytest.mark.parametrize("name", ["averages", "averages_pending"])
def test_the_callback_that_swaps_in_the_averages(name):
    def swapped(optimizer):
        """The weights at the end of each epoch: averages, also of rows that few steps met."""
        keras.utils.set_random_seed(1)
        model = functional(optimizer)
        weights = []
        see = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())
        )
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        train(model, FIRST, [swap, see], epochs=2)
        return weights

    ours = OPTIMIZERS[name]()
    dense = {"Adagrad": keras.optimizers.Adagrad, "AdamW": keras.optimizers.AdamW}
    config = {key: value for key, value in ours.get_config().items() if key != "lazy"}
    expected = swapped(dense[type(ours).__name__].from_config(config))
    for theirs, epoch in zip(expected, swapped(ours), strict=True):
        for one, other in zip(theirs, epoch, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# ---- Plain variables -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adam", "averages", *PENDING])
def test_a_checkpoint_of_a_loop_of_train_steps(name, tmp_path):
    def fresh():
        generator = tf.random.Generator.from_seed(2)
        tables = [tf.Variable(generator.normal([CLASSES, DIM])) for _ in range(2)]
        optimizer = OPTIMIZERS[name]()
        optimizer.build(tables)
        return optimizer, tables, tf.train.Checkpoint(optimizer=optimizer, tables=tables)

    def train(optimizer, tables, part):
        ids, labels = pairs(part)
        for start in range(0, len(ids), BATCH):
            batch = slice(start, start + BATCH)
            fastw2v.train_step(
                optimizer,
                fastw2v.negative_sampling_loss,
                *tables,
                inputs=ids[batch],
                labels=labels[batch],
                num_sampled=5,
                seed=(start, 1),
            )

    optimizer, tables, checkpoint = fresh()
    train(optimizer, tables, FIRST)
    path = checkpoint.write(str(tmp_path / "half"))
    train(optimizer, tables, SECOND)
    resumed, others, checkpoint = fresh()
    train(resumed, others, SECOND)
    checkpoint.read(path).assert_consumed()
    train(resumed, others, SECOND)
    for each in (optimizer, resumed):
        each.finalize()
    for ours, theirs in zip(tables, others, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- SavedModels ---------------------------------------------------------------------------------

LOAD = """
import sys
import tensorflow as tf
import fastw2v

predictor = tf.saved_model.load(sys.argv[1])
best = predictor.signatures["top_k"](tf.constant([3, 4], tf.int64))
print(best["classes"].numpy().tolist())
"""


def test_export_with_a_signature_for_the_best_classes(tmp_path):
    """Of a model with pending updates: a SavedModel does not hold the optimizer."""
    model = functional(OPTIMIZERS["adam_pending"]())
    train(model, FIRST)
    embedding = next(layer for layer in model.layers if isinstance(layer, Embedding))
    head = model.layers[-1]

    class Predictor(tf.Module):
        def __init__(self):
            super().__init__()
            self.layers = [embedding, head]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def top_k(self, ids):
            logits, classes = head.top_k(embedding(ids), 3)
            return {"logits": logits, "classes": classes}

    predictor = Predictor()
    tf.saved_model.save(predictor, str(tmp_path), signatures={"top_k": predictor.top_k})
    train(model, SECOND)  # goes on, in functions traced before and after
    model.evaluate(pairs(), batch_size=BATCH, verbose=0)

    keras.utils.set_random_seed(1)
    again = functional(OPTIMIZERS["adam_pending"]())
    train(again, FIRST)
    _, classes = again.layers[-1].top_k(again.layers[1](tf.constant([3, 4])), 3)
    printed = run_python(LOAD, str(tmp_path))
    assert printed.splitlines()[-1] == str(classes.numpy().tolist())


# ---- Mixed precision -----------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True])
def test_loss_scaling_under_mixed_float16(wrapped):
    """`compile` wraps an optimizer in the loss scaling of Keras, if it is not in ours already."""
    keras.config.set_dtype_policy("mixed_float16")
    seen = []

    class Adagrad(optimizers.Adagrad):
        def update_step(self, gradient, variable, learning_rate):
            seen.append(isinstance(gradient, tf.IndexedSlices))
            super().update_step(gradient, variable, learning_rate)

    optimizer = Adagrad(0.1)
    if wrapped:
        optimizer = optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model = functional(optimizer)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer, optimizers.LossScaleOptimizer) == wrapped
    train(model, slice(None))
    assert seen and all(seen)  # slices stay slices

    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    expected = functional(optimizers.Adagrad(0.1))
    train(expected, slice(None))
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=2e-3)
