"""Layers with sharded=True against whole ones, trained by one process.

With an argument under a MirroredStrategy of two logical CPUs, and files go into the directory that
it is; else as one of the workers of TF_CONFIG.
"""

import sys
import tempfile
from pathlib import Path

import tensorflow as tf

DIRECTORY = Path(sys.argv[1]) if len(sys.argv) > 1 else None
if DIRECTORY:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

import distribute.programs.steps as steps  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from distribute.programs.refusing import raises  # noqa: E402

import fastw2v  # noqa: E402
from fastw2v import optimizers, samplers  # noqa: E402
from fastw2v.keras import NCE, Embedding, LinearCrossEntropy, NegativeSampling, SampledSoftmax, TopK  # noqa: E402  # noqa: E402

ROWS, CLASSES, DIM = steps.ROWS, steps.CLASSES, steps.DIM
IDS, LABELS = steps.IDS.ravel(), steps.LABELS.ravel()


class Fixed(samplers.Uniform):
    """The same candidates for every replica."""

    def sample(self, true_classes, num_sampled, seed=None, per_example=False):
        counts = steps.sampled(tf.cast(true_classes, tf.int64))["sampled_values"]
        return samplers.SampledValues(*map(tf.constant, counts[:1]), *counts[1:])


def heads(names, **options):
    made = {
        "exact": lambda: LinearCrossEntropy(CLASSES, label_smoothing=0.1, **options),
        "softmax": lambda: SampledSoftmax(CLASSES, CLASSES, sampler="uniform", **options),
        "nce": lambda: NCE(CLASSES, 12, sampler=Fixed(CLASSES), **options),
        "negative": lambda: NegativeSampling(
            CLASSES, CLASSES, sampler=samplers.Uniform(CLASSES), per_example=False, **options
        ),
    }
    return [made[name]() for name in names.split()]


def model(names, optimizer, *, sharded, tied=False, **options):
    """The same first values, however the tables are cut."""
    keras.utils.set_random_seed(1)
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    embedding = Embedding(CLASSES if tied else ROWS, DIM, sharded=sharded)
    hidden = keras.layers.Dense(DIM, "tanh")(embedding(ids))
    ties = {"weights_from": embedding} if tied else {}
    layers = heads(names, sharded=sharded, **ties)
    made = keras.Model([ids, labels], [layer(hidden, labels) for layer in layers])
    made.compile(optimizer, **options)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(0, 0.5, each.shape) for each in made.weights])
    made.predictor = keras.Model(ids, TopK(layers[0], k=5)(hidden))
    return made


def whole_and_cut(names, make_optimizer, **options):
    whole = model(names, make_optimizer(), sharded=False, run_eagerly=True, **options)
    with STRATEGY.scope():
        cut = model(names, make_optimizer(), sharded=True, **options)
        return whole, fastw2v.distribute.enable_fit(cut)


def batches(ids=IDS, with_labels=True):
    pairs = ((ids, LABELS) if with_labels else ids,)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return tf.data.Dataset.from_tensor_slices(pairs).batch(steps.BATCH).with_options(options)


def parts(variable):
    """Of what this process has of a variable: rows, values."""
    table = fastw2v._core.tables.unwrap(variable)
    if not hasattr(table, "cut"):
        return [(slice(None), np.asarray(variable))]
    ranks = [rank for rank, _ in table.group.members_here()]
    return [
        (slice(table.cut.first_row(rank), table.cut.first_row(rank + 1)), part.numpy())
        for rank, part in zip(ranks, table.variables, strict=True)
    ]


def assert_same_weights(cut, whole, name):
    cut.optimizer.finalize()
    for one, other in zip(cut.weights, whole.weights, strict=True):
        assert one.shape == other.shape
        for rows, values in parts(one):
            expected = np.asarray(other)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(values, expected[rows], atol=1e-6 * scale, err_msg=name)


TRAINED = []  # a whole model and one that is cut


def fit():
    TRAINED[:] = fitted("exact", lambda: optimizers.Adam(0.01, use_ema=True), tied=True)
    whole, cut = TRAINED
    ids = IDS % CLASSES
    if not DIRECTORY:
        tested = [made.evaluate(batches(ids), verbose=0) for made in (cut, whole)]
        np.testing.assert_allclose(*tested, rtol=1e-6)
    assert cut.count_params() == whole.count_params()
    found = [
        cut.predictor.predict(batches(ids, with_labels=False), verbose=0),
        [part.numpy() for part in whole.predictor(tf.constant(ids))],
    ]
    if DIRECTORY:
        np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
        np.testing.assert_array_equal(found[0][1], found[1][1])
    else:  # Keras gives each worker the results of all, in the workers' order
        order = [np.sort(each[0].ravel()) for each in found]
        np.testing.assert_allclose(*order, rtol=1e-5, atol=1e-6)
    if DIRECTORY:
        fitted(
            "softmax nce negative",
            lambda: optimizers.RowwiseAdagrad(0.1, loss_scale_factor=8.0),
            steps_per_execution=4,
        )


def fitted(names, make_optimizer, **options):
    """A whole model and one that is cut, after the same steps, which came to the same."""
    whole, cut = whole_and_cut(names, make_optimizer, **options)
    ids = IDS % CLASSES if "tied" in options else IDS
    told = [
        made.fit(batches(ids), shuffle=False, verbose=0).history["loss"] for made in (cut, whole)
    ]
    if "steps_per_execution" not in options:  # Keras tells the loss of the last execution
        np.testing.assert_allclose(*told, rtol=1e-6, err_msg=names)
    assert_same_weights(cut, whole, names)
    return whole, cut


def loop():
    """A loop of one's own, over a model that Keras asked for its shapes before."""

    class Custom(keras.Model):
        def __init__(self, sharded):
            super().__init__()
            self.embedding = Embedding(ROWS, DIM, sharded=sharded)
            self.head = LinearCrossEntropy(CLASSES, sharded=sharded)

        def call(self, inputs):
            return self.head(self.embedding(inputs[0]), inputs[1])

    whole = Custom(False)
    whole([IDS[:4], LABELS[:4]])
    whole.compile(optimizers.Adam(0.01))
    rng = np.random.default_rng(0)
    values = [rng.normal(0, 0.5, each.shape) for each in whole.weights]
    with STRATEGY.scope():
        cut = Custom(True)
        cut.compile(optimizers.Adam(0.01))
    cut.evaluate(batches(), steps=1, verbose=0)
    for made in (whole, cut):
        made.embedding.set_weights(values[:1])
        made.head.set_weights(values[1:])
    tables = cut.embedding.embeddings, cut.head.class_weights, cut.head.class_biases
    with STRATEGY.scope():
        cut.optimizer.build(tables)
    shares = [steps.shares_of(STRATEGY, part) for part in (steps.IDS[0], steps.LABELS[0])]

    def in_replica(ids, labels):
        return fastw2v.train_step(cut.optimizer, fastw2v.softmax_loss, *tables, ids, labels)

    tf.function(lambda: STRATEGY.run(in_replica, shares))()
    whole.train_on_batch((steps.IDS[0], steps.LABELS[0]))
    for layer in ("embedding", "head"):
        one, other = getattr(cut, layer), getattr(whole, layer)
        one.optimizer, other.optimizer = cut.optimizer, whole.optimizer
        assert_same_weights(one, other, "loop")
    tested = [made.evaluate(batches(), steps=1, verbose=0) for made in (cut, whole)]
    np.testing.assert_allclose(*tested, rtol=1e-6)


def assert_equal(one, other):
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)
    for a, b in zip(one.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=a.path)


def files():
    whole, cut = TRAINED
    if not DIRECTORY:
        words = "sharded over 2 replicas in several processes"
        raises(RuntimeError, words, cut.get_weights)
        with tempfile.TemporaryDirectory() as directory:
            raises(RuntimeError, words, lambda: cut.save(f"{directory}/model.keras"))
            path = f"{directory}/model.weights.h5"
            whole.save_weights(path)
            cut.set_weights([np.zeros(each.shape) for each in cut.weights])
            cut.load_weights(path)
            assert_same_weights(cut, whole, "loaded by a worker")
        return
    path = str(DIRECTORY / "model.keras")
    ids = IDS % CLASSES
    cut.save(path)
    one = keras.models.load_model(path)  # of one replica
    assert one.layers[-1].sharded and one.layers[-1].class_weights is one.layers[1].embeddings
    assert_equal(one, cut)
    one.fit(batches(ids), shuffle=False, verbose=0)
    cut.fit(batches(ids), shuffle=False, verbose=0)
    assert_same_weights(cut, one, "after loading")
    one.save(path)
    with STRATEGY.scope():
        two = keras.models.load_model(path)
    assert_equal(two, one)
    assert len(fastw2v._core.tables.unwrap(two.layers[1].embeddings).variables) == 2
    two.save_weights(path.replace(".keras", ".weights.h5"))
    whole.load_weights(path.replace(".keras", ".weights.h5"))
    for a, b in zip(two.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    saved = tf.train.Checkpoint(layer=two.layers[1]).save(str(DIRECTORY / "checkpoint"))
    whole.layers[1].set_weights([np.zeros([CLASSES, DIM])])
    tf.train.Checkpoint(layer=whole.layers[1]).restore(saved)
    two.layers[1].set_weights([np.zeros([CLASSES, DIM])])
    tf.train.Checkpoint(layer=two.layers[1]).restore(saved)
    written = fastw2v.distribute.Checkpoint(layer=two.layers[1]).write(str(DIRECTORY / "parts"))
    for layer in (two.layers[1], whole.layers[1]):
        layer.set_weights([np.zeros([CLASSES, DIM])])
    fastw2v.distribute.Checkpoint(layer=two.layers[1]).read(written)
    tf.train.Checkpoint(layer=whole.layers[1]).read(written)
    for layer in (two.layers[1], whole.layers[1]):
        np.testing.assert_array_equal(layer.get_weights()[0], one.layers[1].get_weights()[0])
    raises(RuntimeError, "read outside of strategy.run", lambda: two.export(path + ".d"))
    layer = two.layers[1]
    raises(ValueError, "SavedModel holds whole", lambda: tf.saved_model.save(layer, path + ".d"))


def refusals():
    with STRATEGY.scope():
        stock = model("exact", "sgd", sharded=True)
    words = "use one of fastw2v.optimizers; under mixed_float16 compile"
    raises(ValueError, words, lambda: stock.fit(batches(), verbose=0))
    raises(ValueError, "no replica has the whole", lambda: 2 * stock.weights[0])
    raises(RuntimeError, "is read outside of strategy.run", lambda: stock([IDS, LABELS]))
    words = "has shape (53, 8), and is assigned a value of shape (3, 2)"
    raises(ValueError, words, lambda: stock.weights[0].assign(np.zeros([3, 2])))
    outside = Embedding(CLASSES, DIM, sharded=True)
    outside.build()
    with STRATEGY.scope():
        head = LinearCrossEntropy(CLASSES, sharded=True, weights_from=outside)
        words = "are built under different strategies"
        raises(ValueError, words, lambda: head.build([None, DIM]))


for check in (fit, files, loop, refusals)[: 4 if DIRECTORY else 2]:
    check()
    print(check.__name__, "passed", flush=True)
print("all checks passed")
