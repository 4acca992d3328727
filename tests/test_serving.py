"""SavedModels of TensorFlow's own ops: what they answer in programs without this package."""

from __future__ import annotations

import warnings
from pathlib import Path

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given, run_python

import fastw2v
from fastw2v import samplers
from fastw2v._core.library import ops
from fastw2v.serving import saved_model

CLASSES, DIM = 60, 8
IDS = tf.constant([3, 0, CLASSES - 1, 3], tf.int64)


def op_types(function):
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return {node.op for node in nodes}


def ours(function):
    return {op for op in op_types(function) if op.startswith("Fastw2v>")}


def served(model, path, *arguments, **options):
    """The SavedModel of a model."""
    fastw2v.export(model, path, *arguments, **options)
    return tf.saved_model.load(str(path))


# ---- Keras models --------------------------------------------------------------------------------

HEADS = {
    "exact": lambda: fastw2v.keras.LinearCrossEntropy(CLASSES, logit_scale=1.5, logit_softcap=3.0),
    "sampled": lambda: fastw2v.keras.SampledSoftmax(CLASSES, 5),
    "nce": lambda: fastw2v.keras.NCE(CLASSES, 5),
    "negatives": lambda: fastw2v.keras.NegativeSampling(CLASSES, 5),
    "adaptive": lambda: fastw2v.keras.AdaptiveSoftmax(CLASSES, [6, 20], use_bias=True),
}


def models(head, dtype="float32"):
    """The model with the losses, and the one that predicts."""
    keras.utils.set_random_seed(1)
    ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
    hidden = fastw2v.keras.Embedding(CLASSES, DIM, dtype=dtype)(ids)
    losses = head(hidden, labels)
    for variable in head.weights:
        variable.assign(keras.random.normal(variable.shape, dtype=variable.dtype))
    return keras.Model([ids, labels], losses), keras.Model(ids, head.top_k(hidden, k=4))


@pytest.mark.parametrize("head", HEADS)
def test_predictions_of_every_head(head, tmp_path):
    _, predictor = models(HEADS[head]())
    values, classes = predictor(IDS)
    loaded = served(predictor, tmp_path)
    got, indices = loaded.serve(IDS)
    np.testing.assert_allclose(got, values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(indices, classes)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("bfloat16", 1e-6)])
def test_predictions_in_other_dtypes(dtype, tolerance, tmp_path):
    head = fastw2v.keras.LinearCrossEntropy(CLASSES, dtype=dtype)
    _, predictor = models(head, dtype)
    values, classes = predictor(IDS)
    loaded = served(predictor, tmp_path)
    got, indices = loaded.serve(IDS)
    assert got.dtype == values.dtype
    np.testing.assert_allclose(got, values, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(indices, classes)


@pytest.mark.parametrize("head", ["exact", "adaptive"])
def test_losses_of_a_model(head, tmp_path):
    """A label out of range has no error there."""
    model, _ = models(HEADS[head]())
    labels = tf.constant([0, 10, CLASSES - 1, 30], tf.int64)
    expected = model([IDS, labels])
    loaded = served(model, tmp_path)
    np.testing.assert_allclose(loaded.serve([IDS, labels]), expected, rtol=1e-5)
    for wrong in (-1, CLASSES):
        losses = loaded.serve([IDS, tf.where(labels == 10, tf.constant(wrong, tf.int64), labels)])
        np.testing.assert_array_equal(np.isnan(losses), [False, True, False, False])


def test_losses_of_sampled_candidates(tmp_path):
    """They are drawn anew at each call."""
    model, _ = models(HEADS["sampled"]())
    loaded = served(model, tmp_path)
    losses = [loaded.serve([IDS, IDS]).numpy() for _ in range(3)]
    assert np.all(np.isfinite(losses)) and np.any(losses[0] != losses[1])
    exact = np.mean(model([IDS, IDS]))
    assert 0.2 * exact < np.mean(losses) < 5 * exact


BAGS = {
    "padded": tf.constant([[3, 7, -1], [5, -1, -1]], tf.int64),
    "ragged": tf.ragged.constant([[3, 7], [5]], dtype=tf.int64),
    "sparse": tf.sparse.from_dense(tf.constant([[3, 7, 0], [5, 0, 0]], tf.int64)),
}


@pytest.mark.parametrize("combiner", ["mean", "sum", "sqrtn"])
@pytest.mark.parametrize("bags", BAGS)
def test_bags(bags, combiner, tmp_path):
    layer = fastw2v.keras.Embedding(CLASSES, DIM, combiner=combiner)
    kinds = {"ragged": bags == "ragged", "sparse": bags == "sparse"}
    inputs = keras.Input([None], dtype="int64", **kinds)
    model = keras.Model(inputs, layer(inputs))
    loaded = served(model, tmp_path)
    np.testing.assert_allclose(loaded.serve(BAGS[bags]), model(BAGS[bags]), rtol=1e-6)


def test_ids_out_of_range_and_empty_bags_are_nan(tmp_path):
    inputs = keras.Input([2], dtype="int64")
    layer = fastw2v.keras.Embedding(CLASSES, DIM, combiner="mean")
    loaded = served(keras.Model(inputs, layer(inputs)), tmp_path)
    rows = loaded.serve(tf.constant([[1, -1], [CLASSES, -1], [-1, -1]], tf.int64))
    np.testing.assert_array_equal(np.isnan(rows[:, 0]), [False, True, True])


def test_a_sequential_model_and_a_subclass(tmp_path):
    layer = fastw2v.keras.Embedding(CLASSES, DIM)
    sequential = keras.Sequential([keras.Input([], dtype="int64"), layer])

    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def call(self, ids):
            return self.layer(ids)

    subclass = Subclass()
    signature = [tf.TensorSpec([None], tf.int64)]
    functions = {"rows": tf.function(subclass, input_signature=signature)}
    loaded = served(sequential, tmp_path / "sequential")
    np.testing.assert_array_equal(loaded.serve(IDS), layer(IDS))
    loaded = served(subclass, tmp_path / "subclass", functions)
    np.testing.assert_array_equal(loaded.rows(IDS), layer(IDS))


def test_a_model_with_words_of_its_own(tmp_path):
    words = keras.Input([], dtype="string")
    ids = keras.layers.StringLookup(vocabulary=["red", "green"])(words)
    model = keras.Model(words, fastw2v.keras.Embedding(3, DIM)(ids))
    loaded = served(model, tmp_path)
    given = tf.constant(["green", "blue"])
    np.testing.assert_array_equal(loaded.serve(given), model(given))


def test_pending_updates_are_applied(tmp_path):
    model, predictor = models(HEADS["exact"]())
    model.compile(fastw2v.optimizers.Adam(0.1))
    model.train_on_batch([tf.range(8), tf.range(8)])
    predictor(IDS)
    model.train_on_batch([tf.range(1, 3), tf.range(1, 3)])
    loaded = served(predictor, tmp_path)
    got, indices = loaded.serve(IDS)
    values, classes = predictor(IDS)
    np.testing.assert_allclose(got, values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(indices, classes)
    model.train_on_batch([tf.range(8), tf.range(8)])  # goes on


# ---- Functions -----------------------------------------------------------------------------------


class Predictor(tf.Module):
    def __init__(self, rows=CLASSES):
        super().__init__()
        self.embeddings = tf.Variable(tf.random.stateless_normal([rows, DIM], [1, 2]))
        self.weights = tf.Variable(tf.random.stateless_normal([rows, DIM], [3, 4]))

    @tf.function
    def of_rows(self, hidden):
        return fastw2v.top_k(hidden, self.weights, k=3)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def best(self, ids):
        logits, classes = self.of_rows(fastw2v.lookup(self.embeddings, ids))
        if tf.size(ids) > 100:  # which AutoGraph sees to
            logits = -logits
        return {"logits": logits, "classes": classes}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def __call__(self, ids):
        return fastw2v.lookup(self.embeddings, ids)


def test_functions_are_traced_anew_and_kept_as_they_were(tmp_path):
    predictor = Predictor()
    expected = predictor.best(IDS)
    before = ours(predictor.best.get_concrete_function())
    assert before == {"Fastw2v>Gather", "Fastw2v>TopK"}
    loaded = served(predictor, tmp_path)
    assert list(loaded.signatures) == ["__call__", "best", "serving_default"]
    got = loaded.signatures["best"](ids=IDS)
    np.testing.assert_array_equal(got["classes"], expected["classes"])
    np.testing.assert_allclose(got["logits"], expected["logits"], rtol=1e-5)
    np.testing.assert_array_equal(loaded(IDS), predictor(IDS))
    default = loaded.signatures["serving_default"](ids=IDS)["output_0"]
    np.testing.assert_array_equal(default, predictor(IDS))
    for each in (loaded, *loaded.signatures.values()):
        function = each.best.get_concrete_function(IDS) if each is loaded else each
        assert not ours(function)
    assert ours(predictor.best.get_concrete_function()) == before
    fresh = predictor.of_rows.get_concrete_function(tf.TensorSpec([7, DIM]))
    assert ours(fresh) == {"Fastw2v>TopK"}


def test_in_the_context(tmp_path):
    predictor = Predictor()
    expected = predictor.best(IDS)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def inside(ids):
        with fastw2v.tensorflow_ops():
            return predictor.best(ids)

    assert not ours(inside.get_concrete_function())
    np.testing.assert_array_equal(inside(IDS)["classes"], expected["classes"])
    assert ours(predictor.best.get_concrete_function())
    fresh = Predictor()
    with fastw2v.tensorflow_ops():
        tf.saved_model.save(fresh, str(tmp_path))
        assert "Fastw2v" not in str(fresh.of_rows.pretty_printed_concrete_signatures())
    written = Path(tmp_path, "saved_model.pb").read_bytes()
    assert b"Fastw2v>" not in written
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.best(IDS)["classes"], expected["classes"])
    assert ours(Predictor().best.get_concrete_function())


# Each loss and each way of giving ids and tables.
LOSSES = [
    ("two labels", "exact", "float32", "keras"),
    ("all options, exact", "exact", "float64", "shards"),
    ("all options, exact", "linear", "float64", "tensor"),
    ("plain", "linear", "float16", "variable"),
    ("no biases", "sampled", "float64", "variable"),
    ("ignored class", "sampled_own", "float64", "variable"),
    ("padded bags, sum", "negatives", "float64", "variable"),
    ("ragged bags", "negatives_own", "float64", "keras"),
    ("hits removed", "tf_nn_softmax", "float64", "variable"),
    ("all options, logistic", "tf_nn_nce", "float64", "shards"),
    ("batch 0", "exact", "float64", "variable"),
]


@pytest.mark.filterwarnings("ignore::fastw2v.GradientWarning")  # of tables that are fixed
@pytest.mark.parametrize(("case", "loss", "dtype", "form"), LOSSES)
def test_losses_and_gradients(case, loss, dtype, form):
    problem = Problem(case, loss, dtype)
    tables = given(problem.tables, form)
    arguments = {name: table.argument for name, table in tables.items()}
    sources = {name: table.sources for name, table in tables.items()}

    def both():
        with tf.GradientTape() as tape:
            tape.watch(sources)
            value = problem.fused(arguments)
            total = tf.reduce_sum(value * tf.cast(problem.upstream, value.dtype))
        return value, [
            tf.cast(tf.convert_to_tensor(gradient), tf.float64)
            for gradient in tf.nest.flatten(tape.gradient(total, sources))
        ]

    @tf.function
    def composed():
        with fastw2v.tensorflow_ops():
            return both()

    assert not ours(composed.get_concrete_function())
    rtol = {"float64": 1e-9, "float32": 1e-5, "float16": 2e-3}[dtype]
    value, gradients = composed()
    expected, right = both()
    np.testing.assert_allclose(value, expected, rtol=rtol, atol=rtol / 100)
    for got, truth in zip(gradients, right, strict=True):
        np.testing.assert_allclose(got, truth, rtol=rtol, atol=rtol / 10)


def test_every_loss_is_met():
    assert {loss for _, loss, _, _ in LOSSES} == set(cases.LOSSES)


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_draws_are_those_of_the_sampler(reduction):
    sampler = samplers.Unigram(np.arange(1, 41))
    weights = tf.Variable(tf.random.stateless_normal([40, DIM], [1, 2]))

    def loss():
        return fastw2v.sampled_softmax_loss(
            weights,
            None,
            tf.constant([[3], [7]]),
            tf.ones([2, DIM]),
            6,
            40,
            sampler=sampler,
            seed=(1, 2),
            reduction=reduction,
        )

    @tf.function
    def composed():
        with fastw2v.tensorflow_ops():
            return loss()

    assert not ours(composed.get_concrete_function())
    np.testing.assert_allclose(composed(), loss(), rtol=1e-5)


def test_every_lookup_and_the_adaptive_softmax():
    table = tf.Variable(tf.random.stateless_normal([30, DIM], [1, 2]))
    tails = [(tf.Variable(tf.ones([DIM, 2])), tf.Variable(tf.ones([9, 2])))]
    calls = {
        "shards": lambda: fastw2v.lookup([table[:15], table[15:]], [[0, 29], [15, 14]]),
        "weights": lambda: fastw2v.lookup(table, [[3, 4]], "sqrtn"),
        "logs": lambda: fastw2v.adaptive_log_probabilities(tf.ones([2, DIM]), table, tails),
        "best": lambda: fastw2v.adaptive_top_k(tf.ones([2, 1, DIM]), table, tails, k=38),
    }

    @tf.function
    def composed():
        with fastw2v.tensorflow_ops():
            return {name: call() for name, call in calls.items()}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not ours(composed.get_concrete_function())
        got = composed()
    for name, call in calls.items():
        for value, expected in zip(
            tf.nest.flatten(got[name]), tf.nest.flatten(call()), strict=True
        ):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


# ---- Where it is loaded --------------------------------------------------------------------------

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "fastw2v":
            raise ImportError("fastw2v is not there")

sys.meta_path.insert(0, Absent())
import tensorflow as tf
"""
LOAD = (
    WITHOUT
    + """
loaded = tf.saved_model.load(sys.argv[1])
print(loaded.best(tf.constant([3, 4], tf.int64))["classes"].numpy().tolist())
"""
)
# As a server loads: the graph of the tag, the restoring of variables, and the tensors by name.
SERVE = (
    WITHOUT
    + """
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    graph = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = graph.signature_def["best"]
    feed = {signature.inputs["ids"].name: [3, 4]}
    print(session.run(signature.outputs["classes"].name, feed).tolist())
"""
)
CONVERT = (
    WITHOUT
    + """
converter = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1])
open(sys.argv[2], "wb").write(converter.convert())
"""
)
SMALL = 200_000  # bytes


@pytest.mark.parametrize("program", [LOAD, SERVE], ids=["saved_model.load", "a server"])
def test_in_a_program_without_the_package(program, tmp_path):
    predictor = Predictor()
    fastw2v.export(predictor, tmp_path)
    expected = predictor.best(tf.constant([3, 4], tf.int64))["classes"].numpy().tolist()
    assert run_python(program, str(tmp_path)).splitlines()[-1] == str(expected)


def test_large_tables_are_variables(tmp_path):
    """Of 5 MB each."""
    predictor = Predictor(rows=160_000)
    fastw2v.export(predictor, tmp_path)
    assert Path(tmp_path, "saved_model.pb").stat().st_size < SMALL
    saved = tf.train.list_variables(str(tmp_path / "variables" / "variables"))
    assert [shape for _, shape in saved if shape] == 2 * [[160_000, DIM]]
    _, keras_model = models(HEADS["nce"]())
    fastw2v.export(keras_model, tmp_path / "keras")
    saved = tf.train.list_variables(str(tmp_path / "keras" / "variables" / "variables"))
    assert len(saved) == 1 + len(keras_model.variables)


def interpreter(content):
    """The interpreter of TFLite, which has a package of its own."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        Interpreter = tf.lite.Interpreter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Interpreter(model_content=content).get_signature_runner("serving_default")


@pytest.mark.parametrize("head", ["sampled", "adaptive"])
def test_in_tflite(head, tmp_path):
    """Of the converter's own ops: nothing of TensorFlow is selected. Converting prints much."""
    _, predictor = models(HEADS[head]())
    fastw2v.export(predictor, tmp_path / "model")
    run_python(CONVERT, str(tmp_path / "model"), str(tmp_path / "model.tflite"))
    runner = interpreter(Path(tmp_path, "model.tflite").read_bytes())
    (name,) = runner.get_input_details()
    got = runner(**{name: IDS.numpy()})
    values, classes = predictor(IDS)
    np.testing.assert_allclose(got["output_0"], values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got["output_1"], classes)


# ---- Word vectors --------------------------------------------------------------------------------


def vectors():
    rng = np.random.default_rng(1)
    words = ["red", "green", "of course", "été", "0", "#"]
    return fastw2v.KeyedVectors(words, rng.normal(size=[len(words), DIM]).astype(np.float32))


def test_word_vectors(tmp_path):
    words = vectors()
    loaded = served(words, tmp_path)
    rows = loaded.lookup(tf.constant(["été", "of course", "blue"])).numpy()
    np.testing.assert_array_equal(rows[:2], [words["été"], words["of course"]])
    assert np.all(np.isnan(rows[2]))
    best = loaded.most_similar(tf.constant(["red", "#"]), 3)
    for i, word in enumerate(["red", "#"]):
        names, cosines = zip(*words.most_similar(word, topn=3), strict=True)
        assert [name.decode() for name in best["words"].numpy()[i]] == list(names)
        np.testing.assert_allclose(best["similarities"][i], cosines, rtol=1e-5)
    all_others = loaded.most_similar(tf.constant(["red"]), 99)["words"].numpy()[0]
    assert sorted(word.decode() for word in all_others) == sorted({*words.words} - {"red"})


def test_the_vectors_of_a_model(tmp_path):
    model = fastw2v.Word2Vec([["red", "green"], ["one", "two"]] * 50, vector_size=8, min_count=1)
    loaded = served(model, tmp_path)
    rows = loaded.lookup(tf.constant(["one"]))
    np.testing.assert_array_equal(rows[0], model.wv["one"])


def test_a_vector_of_zeros(tmp_path):
    words = fastw2v.KeyedVectors(["a", "b"], np.array([[0, 0], [1, 2]], np.float32))
    loaded = served(words, tmp_path)
    best = loaded.most_similar(tf.constant(["a"]), 1)
    assert best["similarities"].numpy().tolist() == [[0.0]]


@pytest.mark.parametrize("word", ["a\nb", "a\r", "", 3, ("a", "b")])
def test_words_that_no_line_holds(word, tmp_path):
    words = fastw2v.KeyedVectors(["b", word], np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="is not a string without line breaks"):
        fastw2v.export(words, tmp_path / "no")
    assert not (tmp_path / "no").exists()


# ---- What is refused -----------------------------------------------------------------------------

REPLACED = {
    *("SoftmaxLoss", "SoftmaxLossGrad", "SampledLoss", "SampledLossGrad"),
    *("TopK", "Gather", "GatherGrad", "CandidateSampler"),
}
OF_SHARDED_TABLES = {"SoftmaxPart", "SoftmaxPartGrad", "JoinSoftmaxParts"}


def test_every_op_is_replaced_or_refused():
    registered = {
        name.removeprefix("fastw2v_").replace("_", "")
        for name in dir(ops)
        if name.startswith("fastw2v_") and not name.endswith("eager_fallback")
    }
    refused = {op.removeprefix("Fastw2v>") for op in saved_model._OF}
    named = {op.lower() for op in REPLACED | OF_SHARDED_TABLES | refused}
    assert registered == named


TABLE = tf.Variable(tf.zeros([CLASSES, DIM]))


def step():
    optimizer = fastw2v.optimizers.Adagrad(0.1)
    optimizer.build([TABLE])

    def one(ids):
        return fastw2v.train_step(
            optimizer, fastw2v.linear_cross_entropy, ids, tf.ones([2, DIM]), TABLE
        )

    return one


REFUSED = {
    "Fastw2v>SkipGrams .of fastw2v.data.skipgrams.": lambda: (
        lambda ids: fastw2v.data.skipgrams(ids, 2)
    ),
    "Fastw2v>CbowBags .of fastw2v.data.cbow.": lambda: lambda ids: fastw2v.data.cbow(ids, 2)[1],
    "Fastw2v>SoftmaxStep .of fastw2v.train_step.": step,
    "make the sampler outside of the function": lambda: (
        lambda ids: samplers.Unigram(ids).sample([[1]], 1).sampled_candidates
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_left_is_refused_by_name(message, tmp_path):
    function = tf.function(REFUSED[message](), input_signature=[tf.TensorSpec([2], tf.int64)])
    with pytest.raises(ValueError, match=message):
        fastw2v.export(tf.Module(), tmp_path / "no", {"serve": function})
    assert not (tmp_path / "no").exists()


def test_a_trace_of_another_graph_is_refused(tmp_path):
    predictor = Predictor()
    concrete = predictor.best.get_concrete_function()
    function = tf.function(concrete, input_signature=[tf.TensorSpec([None], tf.int64)])
    with pytest.raises(ValueError, match=r"Fastw2v>Gather \(of a graph that was made before\)"):
        fastw2v.export(tf.Module(), tmp_path / "no", {"serve": function})


def test_models_of_keras_2(tmp_path):
    """Only the module of their class shows what they are."""
    kind = type("Model", (), {"__module__": "tf_keras.src.engine.training"})
    with pytest.raises(
        ValueError, match=r"model is of Keras 2 \(tf_keras.Model\), expected Keras 3"
    ):
        fastw2v.export(kind(), tmp_path / "no")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda: (Predictor(), 3), "path = 3 is not the name of a directory"),
        (lambda: (Predictor(), ""), "path = '' is not the name"),
        (lambda: (tf.Module(), "no"), "model is a Module without a tf.function that has an"),
        (lambda: (None, "no"), "model is a NoneType without a tf.function"),
        (lambda: (fastw2v.keras.Embedding(3, 4), "no"), "model is a Embedding without"),
        (lambda: (keras.Sequential(name="s"), "no"), "model s is no functional model and no"),
        (lambda: (Predictor(), "no", {}), "functions = {} is not a dictionary of at least one"),
        (lambda: (Predictor(), "no", [1]), r"functions = \[1\] is not a dictionary"),
        (lambda: (Predictor(), "no", {3: 4}), "functions has the key 3, expected the name"),
        (lambda: (Predictor(), "no", {"a": 4}), r"functions\['a'\] is a int, expected a tf.func"),
        (
            lambda: (Predictor(), "no", {"a": Predictor().of_rows}),
            r"functions\['a'\] has no input_signature",
        ),
    ],
)
def test_bad_input(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        fastw2v.export(*arguments())
    assert not list(tmp_path.iterdir())


def test_a_model_is_written_over(tmp_path):
    predictor = Predictor()
    fastw2v.export(predictor, tmp_path)
    predictor.embeddings.assign(2 * predictor.embeddings)
    loaded = served(predictor, tmp_path)
    np.testing.assert_array_equal(loaded(IDS), predictor(IDS))
