"""fastw2v.keras.GrowingEmbedding: rows of ids that were not declared, beside dictionaries and a
fixed table."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from kernels.id_table_definition import IdTable

import fastw2v
from fastw2v._core.library import ops
from fastw2v.optimizers.variables import GrowingVariable

DIM = 4
RULES = {
    "every_id": {},
    "third_time": {"min_count": 3},
    "full": {"max_rows": 25},
    "expiring": {"expire_after": 2, "max_rows": 40},
}


def layer_of(seed=1, **options):
    initializer = keras.initializers.RandomUniform(seed=seed)
    return fastw2v.keras.GrowingEmbedding(DIM, initializer, **options)


def some_ids(rng, count=40, distinct=200):
    return (rng.integers(distinct, size=count) * rng.integers(1, 3, size=count)) * 10**15


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("in_function", [False, True])
def test_rows_are_those_of_the_definition(rules, in_function):
    layer, definition = layer_of(**RULES[rules]), IdTable(**RULES[rules])
    call = tf.function(layer, reduce_retracing=True) if in_function else layer
    rng = np.random.default_rng(0)
    for _ in range(30):
        ids = some_ids(rng)
        found = call(tf.constant(ids), training=True).numpy()
        rows = definition.give(ids.tolist())
        assert np.array_equal(found, layer.embeddings.numpy()[rows])
        others = some_ids(rng, 60).reshape(5, 12)
        found = call(tf.constant(others), training=False).numpy()
        rows = np.reshape(definition.find(others.ravel().tolist()), others.shape)
        assert np.array_equal(found, layer.embeddings.numpy()[rows])
    assert layer.ids.tolist() == [definition.id_of[row] for row in sorted(definition.id_of)]
    assert layer.num_ids == len(definition.row_of)


def test_values_of_a_new_row_depend_on_seed_and_id_alone():
    ids = tf.constant(some_ids(np.random.default_rng(0), 100))
    one, other, third = layer_of(), layer_of(), layer_of(seed=2)
    values = one(ids, training=True)
    other(tf.random.shuffle(ids, seed=1)[:50], training=True)
    assert np.array_equal(other(tf.reverse(ids, [0]), training=True), tf.reverse(values, [0]))
    assert not np.any(np.isclose(third(ids, training=True), values))
    assert np.abs(values).max() <= 0.05 and np.std(values) == pytest.approx(0.05 / 3**0.5, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16", "float16", "bfloat16"])
def test_dtypes(dtype):
    layer = fastw2v.keras.GrowingEmbedding(DIM, "ones", dtype=dtype)
    found = layer(tf.constant([5, 6]), training=True)
    assert found.dtype == layer.compute_dtype and np.all(np.asarray(found, float) == 1)


def test_nothing_is_traced_again_while_the_table_grows():
    layer = layer_of()
    optimizer = fastw2v.optimizers.Adam(0.1)
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def step(ids):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids, training=True) ** 2)
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    step(tf.range(3, dtype=tf.int64))
    before = len(traces)  # one, and one in which variables are made
    sizes = set()
    for first in range(0, 6000, 500):
        step(tf.range(first, first + 500, dtype=tf.int64))
        sizes.add(layer.embeddings.shape[0])
    assert len(traces) == before and len(sizes) > 2 and layer.num_ids == 6000
    assert optimizer.variables[2].shape == layer.embeddings.shape


OPTIMIZERS = {
    "sgd": lambda: fastw2v.optimizers.SGD(0.1),
    "momentum": lambda: fastw2v.optimizers.SGD(0.1, momentum=0.9),
    "adagrad": lambda: fastw2v.optimizers.Adagrad(0.1),
    "rowwise_adagrad": lambda: fastw2v.optimizers.RowwiseAdagrad(0.1),
    "adam": lambda: fastw2v.optimizers.Adam(0.1),
    "amsgrad": lambda: fastw2v.optimizers.Adam(0.1, amsgrad=True),
    "lazy_adam": lambda: fastw2v.optimizers.Adam(0.1, lazy=True),
    "clipped": lambda: fastw2v.optimizers.Adam(0.1, global_clipnorm=0.01),
    # By default a row of a fixed table becomes 0 at the first step of all.
    "ftrl": lambda: fastw2v.optimizers.Ftrl(0.1, l1_regularization_strength=0.01, lazy=True),
    "lion": lambda: fastw2v.optimizers.Lion(0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("in_function", [False, True])
def test_optimizers_give_what_they_give_for_a_fixed_table(optimizer, in_function):
    """Rows come in the order 1, 2, ...: the fixed table has them from the beginning."""
    rng = np.random.default_rng(0)
    distinct = 1500  # grows while the optimizer has state
    every_id = rng.permutation(10 * distinct)[:distinct] * 10**12
    growing, twin = layer_of(), layer_of()
    twin(tf.constant(every_id), training=True)
    start = twin.embeddings.numpy()
    growing.build()
    start[0] = growing.embeddings.numpy()[0]
    fixed = fastw2v.keras.Embedding(len(start), DIM, weights=start)
    target = tf.constant(rng.normal(size=[len(start), DIM]), tf.float32)
    numbers = np.concatenate(
        [np.minimum(rng.integers(1, 120 * (s + 1), size=64), distinct) for s in range(14)]
    ).reshape(14, 64)
    order = {n: k for k, n in enumerate(dict.fromkeys(numbers.ravel()), 1)}

    def trainer(layer, rule):
        def step(ids, rows):
            with tf.GradientTape() as tape:
                found = layer(ids, training=True)
                loss = tf.reduce_sum((found - tf.gather(target, rows)) ** 2)
            variables = layer.trainable_variables
            rule.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        return tf.function(step) if in_function else step

    rules = OPTIMIZERS[optimizer](), OPTIMIZERS[optimizer]()
    of_growing, of_fixed = trainer(growing, rules[0]), trainer(fixed, rules[1])
    ranks = np.vectorize(order.get)(numbers)
    # The fixed table has the same first values in the order in which ids come.
    first = start.copy()
    for number, rank in order.items():
        first[rank] = start[number]
    fixed.embeddings.assign(first)
    for step_numbers, rows in zip(numbers, ranks, strict=True):
        ids = tf.constant(every_id[step_numbers - 1])
        rows = tf.constant(rows)
        # Pending updates of a row may be applied in other parts, which changes their rounding.
        assert float(of_growing(ids, rows)) == pytest.approx(float(of_fixed(rows, rows)), rel=1e-5)
    trained = growing.embeddings.numpy()[: growing.num_ids + 1]
    np.testing.assert_allclose(
        trained[1:], fixed.embeddings.numpy()[1 : len(trained)], rtol=1e-4, atol=1e-6
    )


def test_a_row_that_another_id_gets_begins_anew():
    """Its values, its slots, and without the pending updates that the row had."""
    layer = layer_of(expire_after=1, max_rows=2)
    alone = layer_of()
    optimizers = [fastw2v.optimizers.AdamW(0.1, weight_decay=0.1) for _ in range(2)]

    def step(layer, optimizer, *ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(ids), training=True))
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for ids in [(11, 12), (11, 12), (11,), (11,), (11,)]:
        step(layer, optimizers[0], *ids)
    for _ in range(5):
        step(alone, optimizers[1], 11)
    for _ in range(3):
        step(layer, optimizers[0], 11, 13)
        step(alone, optimizers[1], 11, 13)
    assert sorted(layer.ids.tolist()) == [11, 13]
    np.testing.assert_array_equal(
        layer(tf.constant([11, 13])).numpy(), alone(tf.constant([11, 13])).numpy()
    )


def test_ids_without_a_row_train_the_default_row():
    layer = layer_of(min_count=100)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([1, 2, 2]), training=True))
    gradient = tape.gradient(loss, layer.trainable_variables)[0]
    assert gradient.indices.numpy().tolist() == [0]
    assert gradient.values.numpy().tolist() == [[3.0] * DIM]


def model_of(optimizer="Adam", **options):
    inputs = {
        "ids": keras.Input([2], dtype="int64", name="ids"),
        "label": keras.Input([], dtype="int64", name="label"),
    }
    hidden = keras.layers.Flatten()(layer_of(**options)(inputs["ids"]))
    losses = fastw2v.keras.LinearCrossEntropy(5)(hidden, inputs["label"])
    model = keras.Model(inputs, losses)
    model.compile(getattr(fastw2v.optimizers, optimizer)(0.05))
    return model


def undeclared(seed=0, count=600):
    """Ids of two kinds that say what the label is."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(2000, size=[count, 2]) * 10**12
    return {"ids": ids, "label": ids[:, 0] // 10**12 % 5}


def embedding(model):
    return next(x for x in model.layers if isinstance(x, fastw2v.keras.GrowingEmbedding))


def test_fit_over_ids_that_were_never_declared():
    model, data = model_of(), undeclared()
    history = model.fit(data, epochs=15, batch_size=50, verbose=0).history["loss"]
    assert history[0] > 1.3 and history[-1] < 0.1
    assert sorted(embedding(model).ids) == np.unique(data["ids"]).tolist()
    before = embedding(model).num_ids
    model.evaluate(undeclared(1), verbose=0)
    model.predict(undeclared(1), verbose=0)
    assert embedding(model).num_ids == before


@pytest.mark.parametrize(
    ("ids", "options"),
    [(0, {"mask_zero": True}), (7, {}), (7, {"min_count": 10**6})],
    ids=["padding", "one new id", "an id that is counted"],
)
def test_memory_is_that_of_different_ids(ids, options):
    layer = layer_of(**options)
    layer(tf.fill([100, 100], tf.constant(ids, tf.int64)), training=True)
    assert layer.num_ids == (0 if options else 1) and layer.embeddings.shape[0] <= 1024


def test_fit_of_a_subclassed_model_that_was_not_built():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.vectors, self.last = layer_of(), keras.layers.Dense(1)

        def call(self, ids, training=None):  # which Keras passes on to layers
            return self.last(self.vectors(ids))

    keras.utils.set_random_seed(1)
    model = Model()
    model.compile(fastw2v.optimizers.Adam(0.02), "mse")
    ids = undeclared()["ids"][:, 0]
    labels = (ids // 10**12 % 2).astype(np.float32)
    losses = model.fit(ids, labels, epochs=8, verbose=0).history["loss"]
    assert model.vectors.num_ids == len(set(ids.tolist())) and losses[-1] < 0.1 * losses[0]
    slots = [each for each in model.optimizer.variables if isinstance(each, GrowingVariable)]
    assert {each.shape[0] for each in slots} == {model.vectors.embeddings.shape[0]}


def same_weights(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("way", ["keras", "weights", "checkpoint"])
@pytest.mark.parametrize("options", [{}, {"min_count": 2, "max_rows": 300, "expire_after": 3}])
def test_a_model_that_was_saved_goes_on_as_it_would_have(tmp_path, way, options):
    model = model_of(**options)
    model.fit(undeclared(), batch_size=50, shuffle=False, verbose=0)
    if way == "keras":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras")
    elif way == "weights":
        model.save_weights(tmp_path / "model.weights.h5")
        other = model_of(seed=2, **options)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(tmp_path / "model.weights.h5")
    else:
        path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(tmp_path / "at")
        other = model_of(seed=2, **options)
        other.optimizer.build(other.trainable_variables)
        tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    assert np.array_equal(embedding(other).ids, embedding(model).ids)
    assert np.array_equal(
        other.predict(undeclared(), verbose=0), model.predict(undeclared(), verbose=0)
    )
    for each in (model, other):
        each.fit(undeclared(1), batch_size=50, shuffle=False, verbose=0)
    same_weights(model, other)


def test_weights_of_an_earlier_size_are_taken_back():
    """As EarlyStopping(restore_best_weights=True) does."""
    model = model_of("SGD")
    model.fit(undeclared(count=200), verbose=0)
    weights, expected = model.get_weights(), model.predict(undeclared(), verbose=0)
    model.fit(undeclared(1, count=2000), verbose=0)
    model.set_weights(weights)
    assert np.array_equal(model.predict(undeclared(), verbose=0), expected)
    model.fit(undeclared(2), verbose=0)


def test_export(tmp_path):
    inputs = keras.Input([2], dtype="int64")
    model = keras.Model(inputs, layer_of()(inputs))
    ids = undeclared()["ids"]
    expected = model(ids, training=True)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    assert np.array_equal(loaded.serve(ids), expected)


def test_config():
    layer = layer_of(min_count=2, max_rows=7, expire_after=3, mask_zero=True, combiner="sum")
    other = fastw2v.keras.GrowingEmbedding.from_config(layer.get_config())
    assert other.get_config() == layer.get_config()


def test_strings():
    layer = layer_of()
    words = tf.constant([["red", "green"], ["red", ""]])
    found = layer(words, training=True).numpy()
    assert layer.num_ids == 3 and np.array_equal(found[0, 0], found[1, 0])
    inputs = keras.Input([None], dtype="string")
    model = keras.Model(inputs, layer(inputs))
    assert np.array_equal(model(words), found)
    again = layer_of()
    again(tf.constant(["green", "blue"]), training=True)
    assert np.array_equal(again(tf.constant(["green"])), found[:1, 1])


@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("form", ["dense", "ragged", "sparse"])
def test_bags(combiner, form):
    """As of a fixed table whose rows are those that the ids have; the id 0 is padding."""
    bags = tf.constant([[30, 10, 10], [20, 0, 0], [10, 0, 30]], tf.int64)
    layer = layer_of(combiner=combiner, mask_zero=True)
    layer(bags, training=True)
    assert layer.num_ids == 3
    rows = [layer.ids.tolist().index(id) + 1 for id in (10, 20, 30)]
    by_number = layer.embeddings.numpy()[[0, *rows]]
    fixed = fastw2v.keras.Embedding(4, DIM, combiner=combiner, mask_zero=True, weights=by_number)

    def given(ids):
        if form == "ragged":
            return tf.RaggedTensor.from_tensor(ids, padding=0)
        return tf.sparse.from_dense(ids) if form == "sparse" else ids

    np.testing.assert_allclose(layer(given(bags)), fixed(given(bags // 10)), rtol=1e-6)


def test_masks():
    layer = layer_of(mask_zero=True)
    assert layer.compute_mask(tf.constant([[1, 0]])).numpy().tolist() == [[True, False]]
    assert layer.compute_mask(tf.constant(["", "a"])).numpy().tolist() == [False, True]
    assert layer_of().compute_mask(tf.constant([1, 0])) is None
    layer(tf.constant([0, 5, 0]), training=True)
    assert layer.ids.tolist() == [5]


def test_a_frozen_layer_gives_no_rows():
    layer = layer_of(trainable=False)
    layer(tf.constant([1, 2]), training=True)
    assert layer.num_ids == 0 and layer.trainable_variables == []


BAD_ARGUMENTS = {
    "output_dim": (0, "output_dim"),
    "min_count": (0, r"min_count = 0 is not a Python integer in \[1, "),
    "max_rows": (2**31, r"max_rows = 2147483648 is not a Python integer in \[1, 2147483647\]"),
    "expire_after": (0, r"expire_after = 0 is not"),
    "combiner": ("max", 'combiner = .max. is not one of "mean", "sum", "sqrtn"'),
    "empty_bags": ("ones", "empty_bags"),
    "embeddings_initializer": ("glorot_uniform", "expected RandomUniform, Constant, Zeros or Ones"),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments(name):
    value, message = BAD_ARGUMENTS[name]
    with pytest.raises(ValueError, match=message):
        fastw2v.keras.GrowingEmbedding(**{"output_dim": DIM, name: value})


@pytest.mark.parametrize("ids", [[1.5], [True], [1j]])
def test_ids_of_a_wrong_dtype(ids):
    with pytest.raises(ValueError, match="inputs has dtype"):
        layer_of()(tf.constant(ids))


def test_floats_of_keras_inputs_are_refused():
    with pytest.raises(ValueError, match="expected integers or strings"):
        layer_of()(keras.Input([3]))


def test_what_does_not_work_is_refused():
    ids = tf.constant([1, 2])
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        with pytest.raises(ValueError, match="built under MirroredStrategy"):
            layer_of()(ids)
    with pytest.raises(ValueError, match="leave jit_compile off"):
        tf.function(layer_of(), jit_compile=True)(ids)
    layer = layer_of()
    layer(ids)
    for options in ({"use_ema": True}, {"gradient_accumulation_steps": 2}):
        with pytest.raises(ValueError, match="does not work for tables that grow"):
            fastw2v.optimizers.Adam(**options).build(layer.trainable_variables)
    model = model_of()
    model.compile("adam")
    with pytest.raises(ValueError, match="use one of fastw2v.optimizers"):
        model.fit(undeclared(), verbose=0)


def test_variables_that_do_not_belong_together_are_refused():
    """As after a user has assigned some of them."""
    ids = tf.constant(some_ids(np.random.default_rng(0)))

    def changed(change, training=True):
        layer = layer_of(min_count=2)
        for _ in range(2):
            layer(ids, training=True)
        change(layer)
        layer(ids, training=training)

    for training in (True, False):
        for change in (
            lambda layer: layer.slots.assign(np.zeros([4, 2], np.int64)),
            lambda layer: layer.slots.assign(np.zeros([3, 2], np.int64)),
            lambda layer: layer.records.assign(np.zeros([7, 3], np.int64)),
            lambda layer: layer.counters.assign([10**9, 0, 0, 0, 0]),
            lambda layer: layer.counters.assign([0, 0, 0, 0, 0]),
        ):
            with pytest.raises(tf.errors.InvalidArgumentError, match="belong together"):
                changed(change, training)
    with pytest.raises(tf.errors.InvalidArgumentError, match="table has shape"):
        changed(lambda layer: layer.embeddings.assign(np.zeros([3, DIM])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="candidates has shape"):
        changed(lambda layer: layer.candidates.assign(np.zeros([3, 2], np.int64)))
    with pytest.raises(ValueError, match="is assigned a value of shape"):
        changed(lambda layer: layer.embeddings.assign(np.zeros([3, DIM + 1])))


@pytest.mark.parametrize("name", ["slots", "records", "counters", "candidates"])
def test_no_values_crash(name):
    """Whatever the variables hold, an op gives rows or an error."""
    rng = np.random.default_rng(0)
    ids = tf.constant(some_ids(rng))
    for high in (2, 50, 2**40, 2**63 - 1):
        layer = layer_of(min_count=2, expire_after=1, max_rows=60)
        layer(ids, training=True)
        variable = getattr(layer, name)
        variable.assign(rng.integers(-high, high, size=variable.shape))
        for training in (False, True, True):
            try:
                layer(ids, training=training)
            except tf.errors.InvalidArgumentError as error:
                assert "belong together" in str(error) or "is not in" in str(error)  # noqa: PT017


@pytest.mark.parametrize("handles", [0, 2])
@pytest.mark.parametrize("bad", range(3))
def test_an_argument_holds_one_handle(bad, handles):
    layer = layer_of()
    layer(tf.constant([1]), training=True)
    names = ["records", "slots", "counters"]
    tables = [getattr(layer, name).value.handle for name in names]

    @tf.function  # TensorFlow itself looks at arguments of no handle where it is eager
    def rows():
        tables[bad] = tf.stack([tables[bad]] * 2)[:handles]
        return ops.fastw2v_find_rows(tf.constant([1], tf.int64), *tables)

    message = rf"{names[bad]} has shape \[{handles}\], expected the handle of one variable"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        rows()


def test_growing_variables_are_on_the_cpu():
    layer = layer_of()
    layer.build()
    assert all(isinstance(each, GrowingVariable) for each in layer.weights)
    assert all("CPU:0" in each.value.device for each in layer.weights)
