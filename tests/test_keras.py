"""The Keras layers: the losses they stand for, in models of all kinds, saved and loaded."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import run_python

import fastw2v
from fastw2v.keras import (
    NCE,
    Embedding,
    LinearCrossEntropy,
    NegativeSampling,
    SampledSoftmax,
    TopK,
)

CLASSES, DIM, BATCH = 30, 6, 12

HEADS = {
    "LinearCrossEntropy": lambda **options: LinearCrossEntropy(CLASSES, **options),
    "SampledSoftmax": lambda **options: SampledSoftmax(CLASSES, 7, **options),
    "NCE": lambda **options: NCE(CLASSES, 7, **options),
    "NegativeSampling": lambda **options: NegativeSampling(CLASSES, 7, **options),
}
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float64")


@pytest.fixture(autouse=True)
def fresh_state():
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy("float32")


def pairs(count=BATCH):
    rng = np.random.default_rng(1)
    return [rng.integers(0, CLASSES, count), rng.integers(0, CLASSES, count)]


def functional(head, embedding=None):
    """A model of ids and labels whose output is the loss of each example."""
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = (embedding or Embedding(CLASSES, DIM))(ids)
    return keras.Model([ids, labels], head(hidden, labels))


class Subclassed(keras.Model):
    def __init__(self, head, **kwargs):
        super().__init__(**kwargs)
        self.embedding = Embedding(CLASSES, DIM)
        self.head = head

    def call(self, data, training=None):
        ids, labels = data
        return self.head(self.embedding(ids), labels, training=training)


def randomize(head):
    """Weights that are not the initializers'."""
    head.build((None, DIM))
    generator = tf.random.Generator.from_seed(2)
    for variable in (head.class_weights, head.class_biases):
        if variable is not None:
            variable.assign(generator.normal(variable.shape))
    return head


# ---- What a layer computes -----------------------------------------------------------------------


def plain_loss(head, activations, labels, training, **options):
    """The public loss that a layer stands for, on its weights."""
    weights, biases = head.class_weights, head.class_biases
    columns = tf.reshape(labels, [BATCH, -1])
    sampled = {"num_sampled": 7, "seed": 5}
    if isinstance(head, LinearCrossEntropy) or (
        getattr(head, "exact_evaluation", False) and not training
    ):
        return fastw2v.linear_cross_entropy(labels, activations, weights, biases, **options)
    if isinstance(head, NegativeSampling):
        options["per_example"] = head.per_example
        return fastw2v.negative_sampling_loss(
            activations, weights, tf.range(BATCH), labels, **sampled, **options
        )
    name = "nce_loss" if isinstance(head, NCE) else "sampled_softmax_loss"
    sampled["num_true"] = columns.shape[1]
    arguments = {"num_classes": CLASSES, **sampled, **options}
    return getattr(fastw2v, name)(weights, biases, columns, activations, **arguments)


# The layer, its options, and whether it is trained.
VARIANTS = [
    ("LinearCrossEntropy", {}, True),
    ("LinearCrossEntropy", {"label_smoothing": 0.1, "z_loss": 0.01, "use_bias": False}, True),
    ("LinearCrossEntropy", {"margin": 0.5}, True),
    ("SampledSoftmax", {}, False),
    ("SampledSoftmax", {"exact_evaluation": True, "sampler": "uniform"}, True),
    ("SampledSoftmax", {"exact_evaluation": True, "sampler": "uniform"}, False),
    ("NCE", {"remove_accidental_hits": True}, True),
    ("NegativeSampling", {}, True),
    ("NegativeSampling", {"per_example": False, "sampler": "uniform"}, True),
]


@pytest.mark.parametrize("num_true", [1, 2])
@pytest.mark.parametrize(("name", "options", "training"), VARIANTS)
def test_loss_and_gradients_are_those_of_the_function(name, options, num_true, training):
    common = {"logit_scale": 0.5, "logit_softcap": 5.0, "ignore_label": 3}
    seed = {} if name == "LinearCrossEntropy" else {"seed": 5}
    head = randomize(HEADS[name](**options, **common, **seed))
    rng = np.random.default_rng(3)
    activations = tf.Variable(rng.normal(size=(BATCH, DIM)).astype(np.float32))
    labels = rng.integers(0, CLASSES, (BATCH, num_true)).astype(np.int32)
    labels[4] = 3
    labels = labels[:, 0] if num_true == 1 else labels
    present = np.any(labels.reshape(BATCH, -1) != 3, axis=1)
    weight = rng.random(BATCH).astype(np.float32)
    sources = [activations, *(variable.value for variable in head.trainable_variables)]
    unused = ("use_bias", "exact_evaluation", "per_example")
    extra = {key: value for key, value in options.items() if key not in unused}
    if getattr(head, "exact_evaluation", False) and not training:
        extra.pop("sampler", None)

    results = []
    for layer in (True, False):
        tf.random.set_seed(7)
        with tf.GradientTape() as tape:
            if layer:
                losses = head(activations, labels, sample_weight=weight, training=training)
                (mean,) = head.losses
            else:
                arguments = {"sample_weight": weight, **extra, **common}
                losses = plain_loss(head, activations, labels, training, **arguments)
                mean = tf.reduce_sum(losses) / np.sum(weight[present])
        gradients = tape.gradient(mean, sources)
        results.append([losses, mean, *map(tf.convert_to_tensor, gradients)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_the_gradient_of_a_mean_is_made_in_the_same_pass():
    head = randomize(LinearCrossEntropy(CLASSES))
    activations, labels = tf.ones([BATCH, DIM]), tf.zeros([BATCH], tf.int64)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            head(activations, labels)
            (loss,) = head.losses
        return tape.gradient(loss, [v.value for v in head.trainable_variables])

    operations = step.get_concrete_function().graph.get_operations()
    (op,) = [op for op in operations if op.type == "Fastw2v>SoftmaxLoss"]
    assert op.get_attr("num_saved") > 0


def test_activations_of_more_axes_and_their_mask():
    head = randomize(LinearCrossEntropy(CLASSES))
    activations = tf.random.normal([2, 3, DIM])
    labels = tf.constant([[1, 2, 3], [4, 5, 6]])
    losses = head(activations, labels)
    expected = fastw2v.linear_cross_entropy(
        labels, activations, head.class_weights, head.class_biases
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    np.testing.assert_allclose(head.losses[0], np.mean(expected), rtol=1e-6)

    mask = np.array([[True, True, False], [True, False, False]])
    losses = head(activations, labels, inputs_mask=tf.constant(mask))
    np.testing.assert_allclose(losses, expected * mask, rtol=1e-6)
    np.testing.assert_allclose(head.losses[0], np.mean(expected.numpy()[mask]), rtol=1e-6)


@pytest.mark.parametrize("layer", [Embedding, keras.layers.Embedding])
def test_the_mask_of_an_embedding_reaches_the_loss(layer):
    ids, labels = keras.Input([4], dtype="int64"), keras.Input([4], dtype="int64")
    hidden = keras.layers.LSTM(DIM, return_sequences=True)(layer(CLASSES, DIM, mask_zero=True)(ids))
    model = keras.Model([ids, labels], LinearCrossEntropy(CLASSES)(hidden, labels))
    model.compile("sgd")
    data = [np.array([[3, 4, 0, 0], [5, 0, 0, 0]]), np.ones([2, 4], np.int64)]
    losses = model.predict(data, verbose=0)
    np.testing.assert_array_equal(losses != 0, data[0] != 0)
    np.testing.assert_allclose(
        model.evaluate(data, verbose=0), losses[losses != 0].mean(), rtol=1e-5
    )


@pytest.mark.parametrize("head", HEADS)
def test_top_k(head):
    head = randomize(HEADS[head](logit_scale=0.5))
    activations = tf.random.normal([2, 3, DIM])
    got = head.top_k(activations, k=4)
    expected = fastw2v.top_k(
        activations, head.class_weights, head.class_biases, k=4, logit_scale=0.5
    )
    for part, value in zip(got, expected, strict=True):
        np.testing.assert_array_equal(part, value)


@pytest.mark.parametrize("combiner", [None, "mean"])
def test_pending_updates_are_applied_before_rows_are_read(combiner):
    rng = np.random.default_rng(0)
    ids = rng.integers(CLASSES, size=[48, 2] if combiner else [48])
    labels = rng.integers(CLASSES, size=48)
    start, trained = None, []
    for optimizer in (fastw2v.optimizers.Adam(0.1, lazy=False), keras.optimizers.Adam(0.1)):
        inputs = keras.Input(ids.shape[1:], dtype="int64"), keras.Input([], dtype="int64")
        hidden = Embedding(CLASSES, DIM, combiner=combiner)(inputs[0])
        head = SampledSoftmax(CLASSES, 3, seed=(1, 2))
        model = keras.Model(inputs, head(hidden, inputs[1]))
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(optimizer)
        model.fit([ids, labels], batch_size=4, epochs=2, shuffle=False, verbose=0)
        trained.append(model.get_weights())
        found = head.top_k(tf.ones([1, DIM]), 3)[1].numpy().tolist()
        trained[-1].append(np.array(found))
    for ours, theirs in zip(*trained, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("combiner", [None, "mean"])
def test_layers_under_xla(combiner):
    ids = tf.constant([[3, 4], [4, 4]] if combiner else [3, 4])
    embedding, head = Embedding(CLASSES, DIM, combiner=combiner), LinearCrossEntropy(CLASSES)
    labels = tf.constant([5, 6])

    def step():
        with tf.GradientTape() as tape:
            hidden = embedding(ids)
            loss = head(hidden, labels)
        grads = tape.gradient(loss, [embedding.embeddings.value, head.class_weights.value])
        return [loss, *map(tf.convert_to_tensor, grads), *head.top_k(hidden, 3)]

    expected = step()
    for got, value in zip(tf.function(step, jit_compile=True)(), expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-4, atol=1e-5)


# ---- Embedding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", [3, [3, 4, 3], [[1, 2], [2, 2]]])
def test_embedding_is_that_of_keras(ids):
    ours, theirs = Embedding(CLASSES, DIM), keras.layers.Embedding(CLASSES, DIM)
    ids = tf.constant(ids)
    theirs.build(())
    ours.build(())
    theirs.embeddings.assign(ours.embeddings)
    gradients = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            rows = layer(ids)
            loss = tf.reduce_sum(rows**2)
        gradients.append(tape.gradient(loss, layer.embeddings.value))
        np.testing.assert_array_equal(rows, theirs(ids))
    np.testing.assert_allclose(*map(tf.convert_to_tensor, gradients), rtol=1e-6)
    assert np.all(np.diff(gradients[0].indices) > 0)


@pytest.mark.parametrize("combiner", ["mean", "sum"])
@pytest.mark.parametrize("mask_zero", [False, True])
def test_bags(mask_zero, combiner):
    layer = Embedding(CLASSES, DIM, mask_zero=mask_zero, combiner=combiner)
    bags = [[3, 0, 5], [4]]
    counted = [[i for i in bag if i or not mask_zero] for bag in bags]
    table = layer(tf.constant([[1]])) is not None and layer.embeddings.numpy()
    expected = [getattr(np, combiner)(table[bag], axis=0) for bag in counted]
    padded = tf.constant([[3, 0, 5, -1], [4, -1, -1, -1]])
    np.testing.assert_allclose(layer(padded), expected, rtol=1e-6)
    np.testing.assert_allclose(layer(tf.ragged.constant(bags)), expected, rtol=1e-6)
    assert layer.compute_output_shape((None, 4)) == (None, DIM)
    assert layer(keras.Input([4], dtype="int32")).shape == (None, DIM)


def test_embedding_of_ragged_ids():
    layer = Embedding(CLASSES, DIM)
    rows = layer(tf.ragged.constant([[3, 4], [5]]))
    np.testing.assert_array_equal(rows.flat_values, layer(tf.constant([3, 4, 5])))


@pytest.mark.parametrize("policy", POLICIES)
def test_embedding_gives_the_compute_dtype(policy):
    layer = Embedding(CLASSES, DIM, dtype=policy)
    assert layer(tf.constant([1])).dtype.name == layer.compute_dtype
    assert layer.embeddings.dtype == layer.variable_dtype


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_ids_above_the_integers_of_float32(dtype):
    count, row = 2**24 + 3, 2**24 + 1
    ids, labels = keras.Input([], dtype=dtype), keras.Input([], dtype=dtype)
    head = NegativeSampling(count, 1, weights_initializer="zeros")
    hidden = Embedding(count, 1, embeddings_initializer="ones", name="in")(ids)
    model = keras.Model([ids, labels], head(hidden, labels))
    model.compile(keras.optimizers.SGD(1.0))
    data = np.array([row], dtype)
    model.fit([data, data], verbose=0)
    assert head.class_weights[row, 0] == 0.5  # the slope of softplus(-0)
    changed = np.flatnonzero(head.class_weights.numpy())
    assert row in changed and len(changed) <= 2  # the label and a negative


# ---- Models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "make"),
    [*((head, functional) for head in HEADS), ("SampledSoftmax", Subclassed)],
)
def test_fit_evaluate_and_predict(head, make):
    model = make(HEADS[head]())
    model.compile(keras.optimizers.Adagrad(0.5))
    ids, _ = pairs(200)
    data = [ids, (ids + 1) % CLASSES]
    x = tuple(data) if make is Subclassed else data
    dataset = tf.data.Dataset.from_tensor_slices((tuple(data),)).batch(20)
    before = model.evaluate(x, verbose=0)
    history = model.fit(dataset, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0] and model.evaluate(x, verbose=0) < before
    losses = model.predict(x, verbose=0)
    assert losses.shape == (200,) and np.all(np.isfinite(losses))
    assert not model.jit_compile


def test_exact_evaluation_is_the_exact_loss():
    head, embedding = SampledSoftmax(CLASSES, 5, exact_evaluation=True), Embedding(CLASSES, DIM)
    model = functional(head, embedding)
    model.compile("sgd")
    ids, labels = pairs()
    model.fit([ids, labels], verbose=0)
    expected = fastw2v.linear_cross_entropy(
        labels, embedding(ids), head.class_weights, head.class_biases
    )
    np.testing.assert_allclose(model.predict([ids, labels], verbose=0), expected, rtol=1e-5)
    got = model.evaluate([ids, labels], verbose=0)
    np.testing.assert_allclose(got, np.mean(expected), rtol=1e-5)


def test_callbacks_on_the_validation_loss(tmp_path):
    model = functional(SampledSoftmax(CLASSES, 5, exact_evaluation=True))
    model.compile(keras.optimizers.SGD(0.0))  # nothing improves
    path = str(tmp_path / "best.keras")
    history = model.fit(
        pairs(),
        validation_data=(pairs(),),
        epochs=5,
        verbose=0,
        callbacks=[
            keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True),
            keras.callbacks.EarlyStopping("val_loss", patience=1),
        ],
    )
    assert len(history.epoch) == 2
    best = keras.saving.load_model(path)
    np.testing.assert_allclose(best.evaluate(pairs(), verbose=0), history.history["val_loss"][0])


@pytest.mark.parametrize(
    ("head", "policy"),
    [
        *((head, "mixed_float16") for head in HEADS),
        ("LinearCrossEntropy", "mixed_bfloat16"),
        ("NegativeSampling", "mixed_bfloat16"),
        ("SampledSoftmax", "float64"),
    ],
)
def test_dtype_policies(head, policy):
    keras.config.set_dtype_policy(policy)
    head = HEADS[head]()
    model = functional(head)
    model.compile(keras.optimizers.SGD(1.0))
    if policy == "mixed_float16":
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    ids, _ = pairs(100)
    data = [ids, (ids + 1) % CLASSES]
    before = head.class_weights.numpy()
    history = model.fit(data, epochs=3, batch_size=10, verbose=0).history["loss"]
    assert np.all(np.isfinite(history)) and np.any(head.class_weights.numpy() != before)
    expected = "float64" if policy == "float64" else "float32"
    assert model.output.dtype == expected and head.class_weights.dtype == expected
    assert model.predict(data, verbose=0).dtype == expected


# ---- Weight tying --------------------------------------------------------------------------------


def tied(kind):
    if kind == "head":
        ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
        hidden = Embedding(CLASSES, DIM)(ids)
        first = SampledSoftmax(CLASSES, 5)
        losses = first(hidden, labels)
        second = LinearCrossEntropy(CLASSES, weights_from=first, use_bias=False)
        return keras.Model([ids, labels], [losses, second(hidden, labels)]), first, second
    embedding = (keras.layers.Embedding if kind == "keras" else Embedding)(CLASSES, DIM)
    head = SampledSoftmax(CLASSES, 5, weights_from=embedding, exact_evaluation=True)
    return functional(head, embedding), embedding, head


@pytest.mark.parametrize("kind", ["embedding", "keras", "head"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_tied_weights_are_one_table_also_after_saving(kind, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    model, source, head = tied(kind)
    assert head.class_weights is getattr(source, "embeddings", None) or (
        head.class_weights is source.class_weights
    )
    tables = [variable for variable in model.trainable_variables if len(variable.shape) == 2]
    assert len(tables) == (2 if kind == "head" else 1)
    model.compile("sgd")
    model.fit(pairs(), verbose=0)
    model.save(tmp_path / "tied.keras")
    loaded = keras.saving.load_model(tmp_path / "tied.keras")
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    for ours, theirs in zip(model.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again = next(layer for layer in loaded.layers if layer.name == head.name)
    assert any(again.weights_from is layer for layer in loaded.layers)


# ---- Saving --------------------------------------------------------------------------------------

OPTIONS = {
    "LinearCrossEntropy": {
        "label_smoothing": 0.25,
        "margin": 0.75,
        "z_loss": 0.5,
        "use_bias": False,
    },
    "SampledSoftmax": {
        "sampler": fastw2v.samplers.Unigram(np.arange(1, CLASSES + 1), power=0.5),
        "exact_evaluation": True,
        "seed": 4,
    },
    "NCE": {"sampler": fastw2v.samplers.Uniform(CLASSES), "remove_accidental_hits": True},
    "NegativeSampling": {"per_example": False, "weights_constraint": "max_norm"},
}


@pytest.mark.parametrize("head", HEADS)
def test_config_makes_the_same_layer(head):
    common = {"logit_scale": 0.5, "logit_softcap": 3.0, "ignore_label": -1}
    layer = HEADS[head](**OPTIONS[head], **common, compute_dtype="bfloat16")
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again) == config
    for name, value in {**OPTIONS[head], **common}.items():
        if name not in ("sampler", "weights_constraint"):
            assert getattr(again, name) == value


def test_config_of_an_embedding():
    layer = Embedding(
        5, 2, "zeros", keras.regularizers.L2(0.1), "max_norm", mask_zero=True, combiner="sum"
    )
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config


def test_a_sampler_from_its_config_draws_the_same():
    sampler = fastw2v.samplers.Unigram([1, 5, 2, 0, 7], power=0.5, unique=False)
    again = fastw2v.samplers.Unigram.from_config(sampler.get_config())
    for first, second in zip(
        sampler.sample([[1]], 20, seed=(1, 2)), again.sample([[1]], 20, seed=(1, 2)), strict=True
    ):
        np.testing.assert_array_equal(first, second)


LOAD = """
import sys
{imports}
import numpy as np, tensorflow as tf
from keras.saving import load_model
try:
    model = load_model(sys.argv[1] + "/model.keras")
    print(model.predict([np.arange(12), np.arange(12)[::-1].copy()], verbose=0).tobytes().hex())
except TypeError as error:
    print(error)
try:
    predictor = tf.saved_model.load(sys.argv[1] + "/predictor")
    print(predictor(tf.constant([3, 4], tf.int64))[1].numpy().tolist())
except RuntimeError as error:
    print(error)
"""


def test_saved_models_load_in_another_process_after_the_import_of_fastw2v(tmp_path):
    embedding = Embedding(CLASSES, DIM)
    head = randomize(SampledSoftmax(CLASSES, 5, exact_evaluation=True))
    model = functional(head, embedding)
    model.save(tmp_path / "model.keras")
    losses = model.predict([np.arange(12), np.arange(12)[::-1].copy()], verbose=0)

    class Predictor(tf.Module):
        def __init__(self):
            super().__init__()
            self.layers = [embedding, head]

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
        def __call__(self, ids):
            return head.top_k(embedding(ids), 3)

    predictor = Predictor()
    tf.saved_model.save(predictor, str(tmp_path / "predictor"))
    _, classes = predictor(tf.constant([3, 4], tf.int64))

    printed = run_python(LOAD.format(imports="import fastw2v"), str(tmp_path)).splitlines()
    assert printed[-2:] == [losses.tobytes().hex(), str(classes.numpy().tolist())]
    printed = run_python(LOAD.format(imports=""), str(tmp_path))
    assert "make sure they are all imported" in printed and "'fastw2v.keras." in printed
    assert "Op type not registered 'Fastw2v>" in printed


def test_export_of_a_model(tmp_path):
    model = functional(SampledSoftmax(CLASSES, 5, exact_evaluation=True))
    data = [tf.constant(part) for part in pairs()]
    expected = model.predict(data, verbose=0)
    model.export(str(tmp_path), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(loaded.serve(data), expected, rtol=1e-6)


# ---- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedding(0, 4), r"input_dim = 0 is not a Python integer in \[1, "),
        (lambda: Embedding(4, 2.5), r"output_dim = 2.5 is not a Python integer in \[1, "),
        (lambda: Embedding(4, 4, combiner="max"), 'combiner = .max. is not one of "mean", "sum"'),
        (lambda: LinearCrossEntropy(-1), r"num_classes = -1 is not a Python integer in \[1, "),
        (
            lambda: LinearCrossEntropy(9, label_smoothing=1.0),
            r"label_smoothing = 1.0 is not .*1.0\)",
        ),
        (lambda: LinearCrossEntropy(9, margin=-1), r"margin = -1 is not .*1000.0\)"),
        (
            lambda: LinearCrossEntropy(9, z_loss=-1),
            r"z_loss = -1 is not a Python number in \[0.0, ",
        ),
        (lambda: SampledSoftmax(9, 0), r"num_sampled = 0 is not a Python integer in \[1, "),
        (lambda: SampledSoftmax(9, 2, sampler="zipf"), "sampler = 'zipf' is not one of"),
        (lambda: NCE(9, 2, sampler=fastw2v.samplers.Uniform(8)), "sampler has num_classes = 8; "),
        (lambda: NCE(9, 2, logit_scale="a"), "logit_scale = 'a' is not a Python number"),
        (lambda: NCE(9, 2, ignore_label=0.5), "ignore_label = 0.5 is not a Python integer"),
        (lambda: NCE(9, 2, weights_from="in"), "weights_from = 'in' is not a layer"),
        (lambda: NCE(9, 2, logit_softcap=0.0), r"logit_softcap = 0.0 is not in \(0, inf\)"),
        (
            lambda: NCE(9, 2, compute_dtype="int8"),
            "compute_dtype = 'int8', expected None or",
        ),
        (lambda: NCE(9, 2, seed="a"), "seed = 'a' is not None, an integer or a pair"),
        (lambda: NCE(9, 10), r"num_sampled = 10 is not in \[1, 9\], the classes that LogUniform"),
        (
            lambda: NCE(3, 2, sampler=fastw2v.samplers.Unigram([0, 4, 0])),
            r"num_sampled = 2 is not in \[1, 1\], the classes that Unigram",
        ),
        (lambda: TopK(Embedding(9, 4)), "is not a loss layer of fastw2v.keras"),
        (lambda: TopK(NCE(9, 2), 10), r"k = 10 is not a Python integer in \[1, 9\]"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: NCE(9, 2)(tf.ones([2, 4]), tf.ones([3], tf.int32)),
            "labels has a batch of 3, but",
        ),
        (
            lambda: NCE(300, 2)(keras.Input([4]), keras.Input([], dtype="bfloat16")),
            r"labels has dtype bfloat16, .* for ids up to 2\*\*8 only, and the table has "
            r'300 rows: keep .* keras.Input\(..., dtype="int64"\)',
        ),
        (lambda: NCE(9, 2)(keras.Input([None]), keras.Input([], dtype="int32")), "a static dim"),
        (
            lambda: NCE(9, 2, weights_from=Embedding(8, 4))(
                tf.ones([2, 4]), tf.zeros([2], tf.int64)
            ),
            r"the table of weights_from = \w+ has shape \(8, 4\), expected .* = \(9, 4\)",
        ),
        (
            lambda: NCE(9, 2, weights_from=NCE(9, 2))(tf.ones([2, 4]), tf.zeros([2], tf.int64)),
            r"weights_from = \w+ has no weights yet; call that layer first",
        ),
        (
            lambda: NCE(9, 2, weights_from=keras.layers.Dense(4))(
                tf.ones([2, 4]), tf.zeros([2], tf.int64)
            ),
            "weights_from = dense, a Dense, has no table of rows",
        ),
        (lambda: NCE(9, 2).top_k(tf.ones([2, 4])), r"layer \w+ has no weights yet; call it first"),
    ],
)
def test_wrong_calls_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


HIDDEN, LABELS = tf.ones([2, 4]), tf.constant([1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda head: head(keras.Input([], dtype="int64"), keras.Input([4])),
            "inputs are integers",
        ),
        (lambda head: head(LABELS, HIDDEN), "inputs are integers and labels are floats"),
        (
            lambda head: head(labels=keras.Input([4]), inputs=keras.Input([1])),  # floats, too
            r"inputs have shape \(None, 1\), and labels \(None, 4\)",
        ),
        (lambda head: head(LABELS, LABELS), r"inputs has dtype int32, .*fastw2v\.keras\.Embedding"),
        (lambda head: head(keras.Input([4])), r"LinearCrossEntropy is called with .* labels\)"),
        (lambda head: head([HIDDEN, LABELS]), r"is called with .* there is top_k"),
        (lambda head: head(y_true=LABELS, y_pred=HIDDEN), "is called with activations and labels"),
    ],
)
def test_calls_in_another_order_are_named(call, message):
    head = LinearCrossEntropy(9)
    with pytest.raises((TypeError, ValueError), match=message):
        call(head)
    assert not head.built
    head(HIDDEN, LABELS)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("place", ["loss", "metrics"])
def test_a_head_is_no_loss_of_compile(head, place):
    model = keras.Sequential([keras.layers.Dense(DIM)])
    given = HEADS[head]()
    model.compile("sgd", **{"loss": "mse", place: given if place == "loss" else [given]})
    with pytest.raises(ValueError, match=f"{head} is a layer, and no loss or metric that compile"):
        model.fit(np.ones([4, 3]), np.zeros([4]), verbose=0)


def test_a_loss_of_a_user_may_call_a_head():
    class Loss(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return head(y_pred, y_true)

    head = LinearCrossEntropy(CLASSES, weights_initializer="zeros")
    np.testing.assert_allclose(Loss()(LABELS, HIDDEN), np.log(CLASSES), rtol=1e-6)


def test_ids_out_of_range_are_named():
    model = functional(LinearCrossEntropy(CLASSES))
    model.compile("sgd")
    good = np.zeros(2, np.int64)
    for data, message in (
        ([np.array([0, 30]), good], r"inputs\[1\] = 30 is not in \[0, 30\)"),
        ([good, np.array([0, -1])], r"labels\[1\] = -1 is not in \[0, 30\)"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            model.fit(data, verbose=0)
