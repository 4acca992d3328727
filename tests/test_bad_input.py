"""Bad input: the error names the argument, the value and the range, eager and in a graph, and the
process works on."""

from __future__ import annotations

import math
import warnings

import cases
import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given

import fastw2v

ERRORS = (ValueError, tf.errors.InvalidArgumentError)

in_both_modes = pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])


def refused(call, message, in_graph):
    with pytest.raises(ERRORS, match=message):
        (tf.function(call) if in_graph else call)()


def replaced(array, position, value):
    array = np.array(array)
    array[position] = value
    return array


def works(problem):
    assert np.all(np.isfinite(problem.fused(problem.tables)))


# ---- Values that are known only when the op runs -------------------------------------------------


@in_both_modes
@pytest.mark.parametrize("bad", [-1, 13, 2**40, -(2**40)])
@pytest.mark.parametrize("loss", cases.LOSSES)
def test_labels_out_of_range(loss, bad, in_graph):
    problem = Problem("two labels", loss, "float32")
    labels = replaced(problem.labels, (2, 1), bad)
    message = rf"labels\[(5|2, 1)\] = {bad} is not in \[0, 13\)"
    refused(lambda: problem.fused(problem.tables, labels=labels), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize("bad", [-1, 9, 2**40])
@pytest.mark.parametrize("loss", cases.IDS)
def test_ids_out_of_range(loss, bad, in_graph):
    problem = Problem("plain", loss, "float32")
    ids = replaced(problem.inputs, 3, bad)
    message = rf"inputs\[3\] = {bad} is not in \[0, 9\)"
    refused(lambda: problem.fused(problem.tables, inputs=ids), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize("kind", ["padded", "ragged"])
def test_ids_in_bags_out_of_range(kind, in_graph):
    problem = Problem(f"{kind} bags", "exact", "float32")
    bags = [[1, 9], [2, 3], [0, 1], [2, 2], [3, 4], [5, 6]]
    bags = tf.ragged.constant(bags) if kind == "ragged" else bags
    message = r"inputs\[(1|0, 1)\] = 9 is not in \[0, 9\)"
    refused(lambda: problem.fused(problem.tables, inputs=bags), message, in_graph)
    if kind == "ragged":  # no padding here
        bags = tf.ragged.constant([[1], [2, 3], [0, 1], [2, -1], [3], [5, 6]])
        message = r"inputs\[6\] = -1 is not in \[0, 9\)"
        refused(lambda: problem.fused(problem.tables, inputs=bags), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize("loss", cases.IDS)
def test_empty_bags(loss, in_graph):
    problem = Problem("padded bags", loss, "float32")
    padded = replaced(problem.inputs, 4, -1)
    message = r"inputs\[4\] is an empty bag; each bag needs at least one id"
    refused(lambda: problem.fused(problem.tables, inputs=padded), message, in_graph)
    works(problem)
    problem = Problem("ragged bags", loss, "float32")
    ragged = tf.ragged.constant([[1], [2, 3], [], [2], [3], [5, 6]], dtype=tf.int64)
    message = r"inputs\[2\] is an empty bag"
    refused(lambda: problem.fused(problem.tables, inputs=ragged), message, in_graph)
    no_width = np.zeros([6, 0], np.int64)
    refused(lambda: problem.fused(problem.tables, inputs=no_width), "empty bag", in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize("bad", [-1, 13])
@pytest.mark.parametrize("loss", cases.SAMPLED)
def test_candidates_out_of_range(loss, bad, in_graph):
    problem = Problem("plain", loss, "float32")
    candidates, *counts = problem.sampled_values
    position = (1, 4) if candidates.shape.rank == 2 else 4
    values = (replaced(candidates, position, bad), *counts)
    message = rf"sampled_candidates\[(4|11|1, 4)\] = {bad} is not in \[0, 13\)"
    refused(lambda: problem.fused(problem.tables, sampled_values=values), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize(("bad", "shown"), [(math.nan, "nan"), (-0.5, r"-0\.5"), (0, "0")])
@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("loss", ["sampled", "sampled_own", "tf_nn_softmax", "tf_nn_nce"])
def test_counts_that_are_not_positive(loss, which, bad, shown, in_graph):
    problem = Problem("plain", loss, "float32")
    values = [tensor.numpy() for tensor in problem.sampled_values]
    values[which].flat[3] = bad
    name = ("sampled_candidates", "true_expected_count", "sampled_expected_count")[which]
    message = rf"{name}\[3\] = {shown} is not positive"
    refused(lambda: problem.fused(problem.tables, sampled_values=tuple(values)), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize("loss", cases.SAMPLED)
def test_more_unique_samples_than_classes(loss, in_graph):
    problem = Problem("plain", loss, "float32")
    options = {"sampled_values": None, "num_sampled": 14}
    if loss.startswith("negatives"):
        options["sampler"] = fastw2v.samplers.Uniform(13, unique=True)
    message = r"num_sampled = 14 is not in \[1, 13\]"
    refused(lambda: problem.fused(problem.tables, **options), message, in_graph)
    works(problem)


# ---- Counts of samples, and options --------------------------------------------------------------


@in_both_modes
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (0, r"num_sampled = 0 is not a Python integer in \[1, "),
        (-3, r"num_sampled = -3 is not a Python integer in \[1, "),
        (2.5, r"num_sampled = 2\.5 is not a Python integer"),
        ("4", "num_sampled = '4' is not a Python integer"),
        (np.array([3, 4]), r"num_sampled = array\(\[3, 4\]\) is not a Python integer"),
    ],
)
@pytest.mark.parametrize("loss", cases.SAMPLED)
def test_bad_num_sampled(loss, bad, message, in_graph):
    problem = Problem("plain", loss, "float32")
    options = {"sampled_values": None, "num_sampled": bad}
    refused(lambda: problem.fused(problem.tables, **options), message, in_graph)
    works(problem)


BAD_OPTIONS = [
    (
        cases.SAMPLED,
        {"remove_accidental_hits": "no"},
        "remove_accidental_hits = 'no' is not True or False",
    ),
    (cases.IDS, {"combiner": "max"}, r"combiner = 'max' is not one of \"mean\", \"sum\""),
    (cases.LOSSES, {"reduction": "avg"}, 'reduction = \'avg\' is not one of "none", "mean", "sum'),
    (cases.LOSSES, {"reduction": None}, "reduction = None is not one of"),
    (
        cases.LOSSES,
        {"logit_scale": math.nan},
        r"logit_scale = nan is not a Python number in \(-inf, inf\)",
    ),
    (cases.LOSSES, {"logit_scale": 1e300}, r"logit_scale = 1e\+300 is not a Python number in"),
    (
        cases.LOSSES,
        {"logit_scale": 10**400},
        r"logit_scale = 10+\.\.\.0+ is not a Python",
    ),
    (cases.LOSSES, {"logit_scale": "1"}, "logit_scale = '1' is not a Python number"),
    (cases.LOSSES, {"logit_scale": True}, "logit_scale = True is not a Python number"),
    (
        cases.LOSSES,
        {"logit_scale": tf.Variable(2.0)},  # it would stay as it is: no gradient reaches it
        r"logit_scale = <tf\.Variable.* is not a Python number in",
    ),
    (cases.LOSSES, {"logit_softcap": 0.0}, r"logit_softcap = 0\.0 is not in \(0, inf\)"),
    (cases.LOSSES, {"logit_softcap": -1.0}, r"logit_softcap = -1\.0 is not .* inf\)"),
    (cases.SOFTMAX, {"z_loss": -0.5}, r"z_loss = -0\.5 is not a Python number in \[0\.0, inf\)"),
    (cases.EXACT, {"label_smoothing": 1.0}, r"label_smoothing = 1\.0 is not .* \[0\.0, 1\.0\)"),
    (cases.EXACT, {"label_smoothing": -0.5}, r"label_smoothing = -0\.5 is not .* \[0\.0, 1\.0\)"),
    (["sampled"], {"label_smoothing": 0.5}, r"label_smoothing = 0\.5 needs all classes"),
    (cases.EXACT, {"margin": -0.5}, r"margin = -0\.5 is not .* \[0\.0, 1000\.0\)"),
    (cases.EXACT, {"margin": 1000.0}, r"margin = 1000\.0 is not .* \[0\.0, 1000\.0\)"),
    (["sampled"], {"margin": 0.5}, r"margin = 0\.5 needs all classes"),
    (cases.LOSSES, {"ignore_label": 1.5}, r"ignore_label = 1\.5 is not a Python integer"),
    (cases.LOSSES, {"ignore_label": True}, "ignore_label = True is not a Python integer"),
    (
        cases.LOSSES,
        {"compute_dtype": "int8"},
        "compute_dtype = 'int8', expected None or float32 or",
    ),
    (cases.LOSSES, {"compute_dtype": "float64"}, "compute_dtype = 'float64', expected None or"),
    (cases.LOSSES, {"compute_dtype": "f8"}, "compute_dtype = 'f8', expected None or"),
    (
        cases.SAMPLED,
        {"sampler": "zipf", "sampled_values": None, "num_sampled": 3},
        'sampler = \'zipf\' is not one of "uniform", "log_uniform"',
    ),
    (
        cases.SAMPLED,
        {"sampler": fastw2v.samplers.Uniform(12), "sampled_values": None, "num_sampled": 3},
        "sampler has num_classes = 12; the table of weights has 13 classes",
    ),
    (
        cases.SAMPLED,
        {"seed": 1.5, "sampled_values": None, "num_sampled": 3},
        r"seed = 1\.5 is not None, an integer or a pair of integers",
    ),
    (cases.SAMPLED, {"num_sampled": 9}, "num_sampled = 9, but sampled_values holds 7 candidates"),
    (["tf_nn_softmax", "tf_nn_nce"], {"num_classes": 14}, r"num_classes = 14 is not in \[1, 13\]"),
    (["tf_nn_softmax", "tf_nn_nce"], {"num_classes": 0}, "num_classes = 0 is not a Python integer"),
    (["tf_nn_softmax", "tf_nn_nce"], {"num_true": 0}, "num_true = 0 is not a Python integer"),
    (
        ["tf_nn_softmax", "tf_nn_nce"],
        {"num_true": 2},
        r"labels has shape \(6, 1\), expected \[batch, num_true\] = \[batch, 2\]",
    ),
    (["tf_nn_softmax"], {"num_sampled": None, "sampled_values": None}, "num_sampled = None"),
    (["negatives"], {"num_sampled": None, "sampled_values": None}, "num_sampled = None"),
]


@in_both_modes
@pytest.mark.parametrize(
    ("loss", "option", "message"),
    [
        pytest.param(loss, option, message, id=f"{loss}-{option}")
        for losses, option, message in BAD_OPTIONS
        for loss in losses
    ],
)
def test_bad_options(loss, option, message, in_graph):
    problem = Problem("plain", loss, "float32")
    refused(lambda: problem.fused(problem.tables, **option), message, in_graph)
    works(problem)


@pytest.mark.parametrize("loss", cases.LOSSES)
def test_options_that_do_not_exist(loss):
    problem = Problem("plain", loss, "float32")
    with pytest.raises(TypeError, match="temperature"):
        problem.fused(problem.tables, temperature=2.0)


def test_doubles_are_not_computed_in_less():
    problem = Problem("plain", "exact", "float64")
    with pytest.raises(ValueError, match="compute_dtype = 'bfloat16', expected None or float64"):
        problem.fused(problem.tables, compute_dtype="bfloat16")


# ---- Ranks, dtypes and sizes that are known beforehand -------------------------------------------

WEIGHTS = np.ones([13, 6], np.float32)
BIASES = np.ones([13], np.float32)


def each_with(tables, losses):
    """Parametrizes by the losses that take each of the (table, bad, message)."""
    return pytest.mark.parametrize(
        ("loss", "table", "bad", "message"),
        [
            pytest.param(loss, *bad, id=f"{loss}-{bad[0]}-{number}")
            for number, bad in enumerate(tables)
            for loss in losses
            if bad[0] in Problem("plain", loss, "float32").tables
        ],
    )


@in_both_modes
@each_with(
    [
        ("weights", WEIGHTS[0], r"weights has shape \(6,\), expected \[rows, dim\]"),
        ("weights", WEIGHTS[np.newaxis], r"weights has shape \(1, 13, 6\), expected \[rows, dim\]"),
        (
            "weights",
            WEIGHTS.astype(int),
            "weights has dtype int64, expected one of float32, float64",
        ),
        ("weights", WEIGHTS[:, :5], "(inputs|embeddings) has width 6, but weights has width 5"),
        (
            "weights",
            WEIGHTS.astype(np.float64),
            "has dtype float32, but weights has dtype float64; they must be equal",
        ),
        ("weights", [], "weights is an empty list"),
        ("weights", None, "weights = None cannot be converted to a tensor"),
        (
            "weights",
            [WEIGHTS[:7], WEIGHTS[7:, :5]],
            r"weights\[1\] has shape \(6, 5\), but weights\[0\] has shape \(7, 6\)",
        ),
        (
            "weights",
            [WEIGHTS[:7], WEIGHTS[7:, 0]],
            r"weights\[1\] has shape \(6,\), expected \[rows, dim\]",
        ),
        (
            "weights",
            [WEIGHTS[:7], WEIGHTS[7:].astype(np.float64)],
            r"weights\[1\] has dtype float64, but weights\[0\] has dtype float32",
        ),
        ("weights", [WEIGHTS[:5], WEIGHTS[5:]], r"weights\[0\] has 5 rows, expected 7.*div"),
        ("biases", BIASES[:12], "biases has 12 entries, but weights has 13 rows"),
        (
            "biases",
            BIASES[:6],
            r"6 entries, but weights has 13 rows; weights .* transposed: expected \[classes, 13\]",
        ),
        ("biases", WEIGHTS, r"biases has shape \(13, 6\), expected \[rows\]"),
        ("biases", BIASES[0], r"biases has shape \(\), expected \[rows\]"),
        (
            "biases",
            BIASES.astype(np.float64),
            "biases has dtype float64, but weights has dtype float32",
        ),
        ("biases", BIASES.astype(np.int32), "biases has dtype int32, expected one of"),
        ("biases", [BIASES[:6], BIASES[6:]], r"biases\[0\] has 6 rows, expected 7.*div"),
        ("embeddings", np.ones([9], np.float32), r"embeddings has shape \(9,\), expected"),
        (
            "embeddings",
            np.ones([9, 5], np.float32),
            "embeddings has width 5, but weights has width 6",
        ),
        ("embeddings", np.ones([9, 6], bool), "embeddings has dtype bool, expected one of"),
        ("activations", np.ones([6, 5], np.float32), "inputs has width 5, but weights has width 6"),
        (
            "activations",
            np.ones([6, 13], np.float32),
            r"width 13, but weights has width 6; weights seem to be transposed: .*\[classes, 13\]",
        ),
        ("activations", np.ones([5, 6], np.float32), "batch of 6, but inputs has a batch of 5"),
        ("activations", np.ones([6, 6], np.int32), "inputs has dtype int32, expected float"),
    ],
    losses=["exact", "sampled", "negatives_own", "linear", "tf_nn_nce"],
)
def test_bad_tables(loss, table, bad, message, in_graph):
    problem = Problem("plain", loss, "float32")
    tables = {**problem.tables, table: bad}
    refused(lambda: problem.fused(tables), message, in_graph)
    works(problem)


@in_both_modes
@pytest.mark.parametrize(
    ("losses", "argument", "bad", "message"),
    [
        (
            [loss for loss in cases.LOSSES if not loss.startswith("tf_nn")],  # which cast
            "labels",
            np.zeros([6, 1], np.float32),
            "labels has dtype float32, expected",
        ),
        (cases.LOSSES, "labels", np.array([["a"]] * 6), "labels has dtype string, expected"),
        (
            cases.LOSSES,
            "labels",
            np.zeros([5, 1], int),
            "labels has a batch of 5, but inputs has a",
        ),
        (
            cases.LOSSES,
            "labels",
            np.zeros([6, 1, 1], int),
            r"labels has shape \(6, 1, 1\), expected",
        ),
        (cases.LOSSES, "labels", 3, r"labels has shape \(\), expected"),
        (cases.IDS, "inputs", np.zeros(6), r"inputs has dtype float64.*2\*\*24"),
        (
            cases.IDS,
            "inputs",
            np.zeros([6, 1, 1], int),
            r"inputs has shape \(6, 1, 1\), expected a",
        ),
        (
            cases.IDS,
            "inputs",
            np.zeros(5, int),
            "labels has a batch of 6, but inputs has a batch of 5",
        ),
        (cases.IDS, "inputs", np.ones(6, bool), "inputs has dtype bool, expected integer ids"),
        (
            cases.IDS,
            "inputs",
            tf.ragged.constant([[[1]]] * 6),
            "inputs has shape .*, expected bags",
        ),
        (cases.LOSSES, "sample_weight", np.ones(5), r"sample_weight has shape \(5,\), expected"),
        (
            cases.LOSSES,
            "sample_weight",
            np.ones([6, 1]),
            r"sample_weight has shape \(6, 1\), expec",
        ),
        (cases.LOSSES, "labels", None, "labels = None cannot be converted to a tensor"),
        (cases.IDS, "inputs", [[1], [2, 3]], r"inputs = \[\[1\], \[2, 3\]\] cannot be converted"),
        (cases.LOSSES, "sample_weight", ["a"] * 6, "sample_weight has dtype string, expected num"),
        (
            ["sampled", "tf_nn_softmax", "tf_nn_nce"],
            "sampled_values",
            (np.zeros(7, int), None, np.ones(7)),
            "sampled_values has one expected count, expected both true_expected_count and",
        ),
        (cases.SAMPLED, "sampled_values", ([1], [1.0]), "sampled_values is not a triple"),
        (cases.SAMPLED, "sampled_values", (3, None, None), r"sampled_values\[0\] has shape \(\)"),
        (
            cases.SAMPLED,
            "sampled_values",
            (np.zeros(7), None, None),
            r"sampled_values\[0\] has dtype float64",
        ),
        (
            ["sampled", "tf_nn_softmax", "tf_nn_nce"],
            "sampled_values",
            (np.zeros(7, int), np.ones([6, 1]), np.ones(5)),
            r"sampled_expected_count has shape \[5\], expected that of sampled_candidates, \[7\]",
        ),
        (
            ["sampled", "sampled_own"],
            "sampled_values",
            (np.zeros(7, int), np.ones([6, 2]), np.ones(7)),
            r"true_expected_count has shape \[6,2\], expected that of labels, \[6,1\]",
        ),
        (
            ["sampled_own", "negatives_own"],
            "sampled_values",
            (np.zeros([5, 7], int), np.ones([6, 1]), np.ones([5, 7])),
            r"sampled_candidates has shape \[5,7\], expected .*batch 6",
        ),
    ],
)
def test_bad_arguments(losses, argument, bad, message, in_graph):
    for loss in losses:
        problem = Problem("plain", loss, "float32")
        refused(lambda p=problem: p.fused(p.tables, **{argument: bad}), message, in_graph)
        works(problem)


def test_scalars_beside_batches():
    tables = Problem("plain", "exact", "float32").tables
    message = "labels has shape .*, expected a scalar or .* beside inputs of a single example"
    with pytest.raises(ValueError, match=message):
        fastw2v.softmax_loss(**tables, inputs=3, labels=[[1, 2]])
    with pytest.raises(ValueError, match=r"labels has shape \(\), expected \[batch\]"):
        fastw2v.softmax_loss(**tables, inputs=[3], labels=1)


# ---- The same where shapes are known only when the op runs ---------------------------------------


@each_with(
    [
        ("weights", WEIGHTS[:, :5], "width"),
        ("biases", BIASES[:12], "biases has 12 entries, but weights has 13 rows"),
        ("embeddings", np.ones([9, 5], np.float32), "embeddings has width 5"),
        ("embeddings", np.ones([0, 6], np.float32), r"is not in \[0, 0\)"),
        ("weights", WEIGHTS[:0], "weights has no rows"),
        ("activations", np.ones([6, 5], np.float32), r"inputs has shape \[6,5\], expected"),
        ("activations", np.ones([5, 6], np.float32), r"inputs has shape \[5,6\], expected"),
    ],
    losses=["exact", "sampled", "linear", "tf_nn_nce"],
)
def test_bad_sizes_at_run_time(loss, table, bad, message):
    problem = Problem("plain", loss, "float32")
    specs = {
        name: tf.TensorSpec([None] * value.shape.rank, value.dtype)
        for name, value in problem.tables.items()
    }
    loss_of = tf.function(problem.fused, input_signature=[specs])
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loss_of({**problem.tables, table: tf.constant(bad)})
    np.testing.assert_array_equal(loss_of(problem.tables), problem.fused(problem.tables))


@pytest.mark.parametrize(
    ("labels", "inputs", "message"),
    [
        (
            np.zeros(5, int),
            np.zeros(6, int),
            "inputs has a batch of 6, but labels has a batch of 5",
        ),
        (np.zeros(6, int), np.zeros([5, 1], int), "a batch of 5, but labels has a batch of 6"),
        (np.zeros([3, 2], int), np.zeros(6, int), "a batch of 6, but labels has a batch of 3"),
        (np.zeros([6, 0], int), np.zeros(6, int), "num_true = 0 is not at least 1"),
    ],
)
def test_bad_batches_at_run_time(labels, inputs, message):
    problem = Problem("plain", "exact", "float32")
    specs = [tf.TensorSpec([None] * np.ndim(array), tf.int64) for array in (labels, inputs)]

    @tf.function(input_signature=specs)
    def loss_of(labels, inputs):
        return problem.fused(problem.tables, labels=labels, inputs=inputs)

    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loss_of(labels, inputs)
    works(problem)


@pytest.mark.parametrize("shape", [[5], [6, 1]])
def test_bad_weights_at_run_time(shape):
    problem = Problem("plain", "exact", "float32")

    @tf.function(input_signature=[tf.TensorSpec(None)])
    def loss_of(sample_weight):
        return problem.fused(problem.tables, sample_weight=sample_weight)

    with pytest.raises(tf.errors.InvalidArgumentError, match="sample_weight"):
        loss_of(tf.ones(shape))
    np.testing.assert_array_equal(loss_of(tf.ones([6])), problem.fused(problem.tables))


@pytest.mark.filterwarnings("ignore::fastw2v.GradientWarning")
@pytest.mark.parametrize("gradient", [False, True])
def test_a_variable_that_shrank(gradient):
    """The size of a variable counts when the op runs."""
    problem = Problem("plain", "exact", "float32")
    weights = tf.Variable(problem.tables["weights"], shape=[None, 6])
    tables = {**problem.tables, "weights": weights}
    with tf.GradientTape() as tape:
        loss = problem.fused(tables)
    weights.assign(problem.tables["weights"][:4])
    with pytest.raises(tf.errors.InvalidArgumentError, match="13 entries, but weights has 4 rows"):
        if gradient:
            tape.gradient(loss, weights)
        else:
            problem.fused(tables)


# ---- Tables cut off from the tape ----------------------------------------------------------------


def warned(call):
    """The GradientWarnings of a call, which must come from the line that made it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    caught = [w for w in caught if w.category is fastw2v.GradientWarning]
    return [str(w.message) for w in caught], {w.filename for w in caught}


@in_both_modes
@pytest.mark.parametrize("loss", cases.LOSSES)
@pytest.mark.parametrize("kind", ["ndarray", "tensor", "list"])
def test_a_detached_table_is_named(loss, kind, in_graph):
    problem = Problem("plain", loss, "float32")
    made = {
        "ndarray": lambda table: table.numpy(),
        "tensor": tf.identity,
        "list": lambda table: table.numpy().tolist(),
    }[kind]
    shown = {
        "ndarray": "a NumPy array",
        "tensor": "a tensor that the recording tape does not watch",
        "list": "a list",
    }[kind]

    def call():
        with tf.GradientTape():
            problem.fused({name: made(table) for name, table in problem.tables.items()})

    messages, files = warned(tf.function(call) if in_graph else call)
    names = [name for name in problem.tables if name != "activations"]
    assert len(messages) == len(names)
    for name in names:
        expected = f"{name} is {shown}, so no gradient will reach a variable"
        assert any(message.startswith(expected) for message in messages), (expected, messages)
    if not in_graph:
        assert files == {problem.fused.__code__.co_filename}


@pytest.mark.parametrize("form", ["variable", "keras", "shards"])
@pytest.mark.parametrize("loss", cases.LOSSES)
def test_no_warning_for_variables(loss, form):
    problem = Problem("plain", loss, "float32")
    arguments = {name: table.argument for name, table in given(problem.tables, form).items()}

    def call():
        with tf.GradientTape():
            problem.fused(arguments)

    assert warned(call)[0] == []
    assert warned(tf.function(call))[0] == []


@pytest.mark.parametrize("loss", cases.LOSSES)
def test_no_warning_without_a_tape(loss):
    problem = Problem("plain", loss, "float32")
    arrays = {name: table.numpy() for name, table in problem.tables.items()}
    assert warned(lambda: problem.fused(arrays))[0] == []
    assert warned(lambda: problem.fused(problem.tables))[0] == []
    assert warned(tf.function(lambda: problem.fused(arrays)))[0] == []


def test_no_warning_where_nothing_is_to_be_learnt():
    """A frozen table is a variable with trainable=False."""
    problem = Problem("plain", "exact", "float32")
    tables = {name: tf.Variable(table) for name, table in problem.tables.items()}
    for frozen in (
        tf.Variable(problem.tables["embeddings"], trainable=False),
        keras.Variable(problem.tables["embeddings"], trainable=False),
    ):
        tables["embeddings"] = frozen

        def call():
            with tf.GradientTape() as tape:
                loss = problem.fused(tables)
            gradients = tape.gradient(loss, [tables["weights"], tables["biases"]])
            assert None not in gradients

        assert warned(call)[0] == []


def test_no_warning_for_tensors_on_the_way_to_a_variable():
    problem = Problem("plain", "exact", "float32")
    variables = {name: tf.Variable(table) for name, table in problem.tables.items()}

    def call():
        with tf.GradientTape() as tape:
            computed = {name: 2 * variable for name, variable in variables.items()}
            loss = problem.fused(computed)
        assert None not in tape.gradient(loss, variables).values()

    assert warned(call)[0] == []
    assert warned(tf.function(call))[0] == []
