"""A sum or mean whose gradients are made together with the losses: the same gradients as when they
are made afterwards, wherever TensorFlow runs them, and none where nobody asks for them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from problems import Problem, given, gradients_of, selected
from tensorflow.python.framework import op_callbacks
from test_memory import measured

import fastw2v
from fastw2v._core.library import ops

every_loss = selected(names=["two labels"], dtypes=["float64"])
# Each op, each source of hidden rows, each kind of candidates: enough where tracing takes its time.
some_losses = pytest.mark.parametrize("loss", ["exact", "sampled", "negatives_own", "tf_nn_nce"])

# Of the gradients, relative to the largest of a table: their own rounding and that of what is
# multiplied before and after.
TOLERANCES = {"float64": 1e-13, "float32": 2e-6, "bfloat16": 2.0**-7, "float16": 2.0**-10}


class Setting:
    """A problem with a weighted mean as its loss, and the gradients that must come out."""

    def __init__(self, loss, form="variable", case="two labels", dtype="float64", **options):
        self.problem = Problem(case, loss, dtype)
        self.options = {"reduction": "mean", **options}
        self.tables = given(self.problem.tables, form)
        self.arguments = {name: table.argument for name, table in self.tables.items()}
        self.sources = {name: table.sources for name, table in self.tables.items()}
        self.watched = [
            source
            for sources in self.sources.values()
            for source in sources
            if not isinstance(source, tf.Variable)
        ]

    def loss(self) -> tf.Tensor:
        return self.problem.fused(self.arguments, **self.options)

    def separately(self, tables) -> tf.Tensor:
        """The same loss, reduced by the caller."""
        each = self.problem.fused(tables)
        weight = tf.cast(self.options.get("sample_weight", 1.0), each.dtype) * tf.ones_like(each)
        total = tf.reduce_sum(weight * each)
        if self.options["reduction"] == "sum":
            return total
        present = tf.ones_like(each)
        if "ignore_label" in self.problem.case.options:
            labels = np.reshape(self.problem.labels, [each.shape.num_elements(), -1])
            present = np.any(labels != self.problem.case.options["ignore_label"], axis=1)
            present = tf.reshape(tf.cast(present, each.dtype), each.shape)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight * present))

    @property
    def expected(self) -> dict[str, np.ndarray]:
        return gradients_of(self.separately, self.problem.tables, 1.0)

    def check(self, gradients, expected, factor: float = 1.0) -> None:
        assert gradients.keys() == expected.keys()
        for name, table in self.tables.items():
            largest = np.abs(factor * expected[name]).max(initial=0)
            np.testing.assert_allclose(
                table.dense(gradients[name]),
                factor * expected[name],
                rtol=0,
                atol=TOLERANCES[self.problem.dtype.name] * largest,
                err_msg=name,
            )


class Spy:
    """Stands for the ops, and notes how many gradients each call of a loss saves."""

    def __init__(self):
        self.saved = []

    def __getattr__(self, name):
        op = getattr(ops, name)

        def call(**arguments):
            self.saved.append(arguments["num_saved"])
            return op(**arguments)

        return call if name.endswith("_loss") else op


@pytest.fixture
def saved(monkeypatch):
    spy = Spy()
    monkeypatch.setattr("fastw2v._losses.call._ops", spy)
    return spy.saved


# ---- The same gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@selected(
    names=[
        "plain",
        "two labels",
        "scalar",
        "batch 0",
        "batch 97",
        "padded bags, sum",
        "ragged bags",
        "ignored",
        "ignored among others",
        "ignored class",
        "all options, softmax",
        "all options, exact",
        "all options, logistic",
    ],
    dtypes=["float64", "float32"],
)
def test_as_made_afterwards(case, loss, dtype, reduction, weighted, saved):
    assert_as_made_afterwards(case, loss, dtype, "variable", reduction, weighted, saved)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@selected(names=["plain", "padded bags", "no biases"], dtypes=["bfloat16", "float16"])
def test_in_16_bits(case, loss, dtype, reduction, saved):
    assert_as_made_afterwards(case, loss, dtype, "variable", reduction, True, saved)


@pytest.mark.parametrize("form", ["keras", "tensor", "shards", "tensor shards"])
@selected(names=["two labels", "ragged bags", "batch 0"], dtypes=["float64"])
def test_every_form_of_table(case, loss, dtype, form, saved):
    assert_as_made_afterwards(case, loss, dtype, form, "mean", True, saved)


def assert_as_made_afterwards(case, loss, dtype, form, reduction, weighted, saved):
    options = {"reduction": reduction}
    if weighted:
        shape = [] if case.inputs == "scalar" else [case.batch]
        options["sample_weight"] = np.linspace(-0.5, 2.0, case.batch).reshape(shape)
    setting = Setting(loss, form, case, dtype, **options)
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = setting.loss()
    assert saved[-1] > 0
    setting.check(tape.gradient(value, setting.sources), setting.expected)
    np.testing.assert_allclose(
        tf.cast(value, tf.float64),
        tf.cast(setting.separately(setting.arguments), tf.float64),
        rtol=1e-2 if value.dtype in (tf.float16, tf.bfloat16) else 1e-5,
        atol=1e-6,
    )


@every_loss
def test_the_gradients_are_those_of_the_tables_that_the_loss_saw(case, loss, dtype, saved):
    setting = Setting(loss)
    expected = setting.expected
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = setting.loss()
    for name, table in setting.arguments.items():
        if name != "activations":
            table.assign(tf.zeros_like(table))
    setting.check(tape.gradient(value, setting.sources), expected)


@pytest.mark.parametrize("factor", [3.0, -0.1, 2.0**15, 0.0])
@every_loss
def test_a_multiple_of_the_loss(case, loss, dtype, factor, saved):
    setting = Setting(loss, sample_weight=np.linspace(0.1, 2.0, case.batch))
    expected = setting.expected
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = factor * setting.loss()
    for name, table in setting.arguments.items():  # handed on, not made anew
        if name != "activations" and factor != 0:
            table.assign(tf.zeros_like(table))
    setting.check(tape.gradient(value, setting.sources), expected, factor)


@pytest.mark.parametrize("loss", ["exact", "linear", "sampled", "tf_nn_nce"])
def test_loss_scaling_keeps_small_gradients_of_float16(loss):
    """float16 loses what is below 6e-8, and a factor does not bring it back."""
    setting = Setting(loss, dtype="float16", sample_weight=np.full(6, 1e-6), reduction="sum")
    scale = 2.0**15
    truth = gradients_of(
        lambda tables: tf.reduce_sum(1e-6 * scale * setting.problem.reference(tables)),
        setting.problem.in_float64(),
        1.0,
    )
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = scale * tf.cast(setting.loss(), tf.float32)
    # The loss of tf.nn's functions is float16 too, and so is what arrives at it.
    for name, gradient in tape.gradient(value, setting.sources).items():
        got = setting.tables[name].dense(gradient)
        assert np.abs(got - truth[name]).max() < 4e-3 * np.abs(truth[name]).max(), name


@every_loss
def test_weights_get_their_gradient(case, loss, dtype, saved):
    """Through the reduction: the coefficients that the op is told have no part in the loss."""
    problem = Problem(case, loss, dtype)
    weight = tf.Variable(np.linspace(0.5, 2.0, case.batch))
    tables = {name: tf.Variable(table, trainable=False) for name, table in problem.tables.items()}
    each = problem.fused(tables)
    for reduction in ("mean", "sum"):
        with tf.GradientTape() as tape:
            value = problem.fused(tables, sample_weight=weight, reduction=reduction)
        assert saved[-1] == 0  # no table is watched
        gradient = tape.gradient(value, weight)
        total = tf.reduce_sum(weight)
        expected = each if reduction == "sum" else (each - value) / total
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)


# ---- What arrives at the gradient op -------------------------------------------------------------

BATCH, CLASSES, DIM = 4, 7, 3


class Raw:
    """Both ops called directly, on activations."""

    def __init__(self, sampled: bool, dtype=tf.float32) -> None:
        rng = np.random.default_rng(8)
        self.dtype = dtype
        self.sampled = sampled
        self.inputs = {
            "embeddings": [],
            "weights": [tf.constant(rng.normal(size=[CLASSES, DIM]), dtype)],
            "biases": [tf.constant(rng.normal(size=[CLASSES]), dtype)],
            "inputs": tf.constant(rng.normal(size=[BATCH, DIM]), dtype),
            "row_splits": [],
            "labels": tf.constant([[1], [5], [-1], [5]], tf.int64),
            "use_ignore_label": True,
            "ignore_label": -1,
            "T": dtype,
            "compute_dtype": tf.float32,
        }
        if sampled:
            self.inputs["sampled_candidates"] = tf.constant([1, 0, 3], tf.int64)
            self.inputs["true_expected_count"] = self.inputs["sampled_expected_count"] = []
            self.inputs["link"] = "softmax"
        else:
            self.inputs["excluded"] = []
        self.num_gradients = 5 if sampled else 3

    def forward(self, coefficients, num_saved=None):
        op = ops.fastw2v_sampled_loss if self.sampled else ops.fastw2v_softmax_loss
        num_saved = self.num_gradients if num_saved is None else num_saved
        return op(
            Accumulator=tf.float32, coefficients=coefficients, num_saved=num_saved, **self.inputs
        )

    def backward(self, forward, d_loss, coefficients, saved):
        op = ops.fastw2v_sampled_loss_grad if self.sampled else ops.fastw2v_softmax_loss_grad
        grads = op(
            d_loss=d_loss,
            max=forward.max,
            log_sum=forward.log_sum,
            coefficients=coefficients,
            saved=saved,
            num_embeddings=0,
            num_activations=1,
            num_weights=1,
            num_biases=1,
            **self.inputs,
        )
        return [*grads.d_inputs, *grads.d_weights, *grads.d_biases]


each_op = pytest.mark.parametrize("sampled", [False, True])


@each_op
@pytest.mark.parametrize(
    ("d_loss", "factor"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1.0),
        ([0.2, 0.4, 0.6, 0.8], 2.0),
        ([0.2, 0.4, 7.0, 0.8], 2.0),  # the third example is ignored
        ([0.2, 0.4, np.nan, 0.8], 2.0),
        ([0.1 * (1 + 2e-7), 0.2, 0.3, 0.4], 1.0),
        ([0.0] * 4, 0.0),
        ([0.2, 0.4, 0.6, 0.80001], None),
        ([0.1, 0.2, 0.3, -0.4], None),
        ([0.1, 0.0, 0.3, 0.4], None),
        ([0.1, np.nan, 0.3, 0.4], None),
        ([np.inf] * 4, None),
    ],
)
def test_any_upstream_gradient(sampled, d_loss, factor):
    raw = Raw(sampled)
    coefficients = [tf.constant([0.1, 0.2, 0.3, 0.4])]
    d_loss = tf.constant(d_loss, tf.float32)
    forward = raw.forward(coefficients)
    expected = raw.backward(forward, d_loss, [], [])
    got = raw.backward(forward, d_loss, coefficients, forward.saved)
    for ours, truth in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-7)
    # Zeros in place of what was saved tell what is handed on from what is made anew.
    zeros = [tf.zeros_like(bytes_) for bytes_ in forward.saved]
    for gradient, truth in zip(
        raw.backward(forward, d_loss, coefficients, zeros), expected, strict=True
    ):
        if factor is None:
            np.testing.assert_array_equal(gradient, truth)
        else:
            np.testing.assert_array_equal(gradient, tf.zeros_like(truth))


@each_op
def test_one_coefficient_for_all(sampled):
    raw = Raw(sampled)
    one, each = [tf.constant(0.25)], [tf.fill([BATCH], 0.25)]
    forward = raw.forward(one)
    for ours, theirs in zip(forward.saved, raw.forward(each).saved, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    d_loss = tf.fill([BATCH], 0.5)
    got = raw.backward(forward, d_loss, one, forward.saved)
    for ours, truth in zip(got, raw.backward(forward, d_loss, [], []), strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-6, atol=1e-8)


@each_op
def test_no_coefficient_is_anything_but_zero(sampled):
    """0 / 0 is no factor."""
    raw = Raw(sampled)
    coefficients = [tf.zeros([BATCH])]
    forward = raw.forward(coefficients)
    for d_loss in (tf.zeros([BATCH]), tf.ones([BATCH])):
        got = raw.backward(forward, d_loss, coefficients, forward.saved)
        for ours, truth in zip(got, raw.backward(forward, d_loss, [], []), strict=True):
            np.testing.assert_array_equal(ours, truth)


@each_op
def test_nothing_is_copied(sampled):
    """A factor of 1 hands on the memory itself, the same at every call."""
    raw = Raw(sampled)
    coefficients = [tf.fill([BATCH], 0.25)]
    forward = raw.forward(coefficients)
    calls = [raw.backward(forward, coefficients[0], coefficients, forward.saved) for _ in range(2)]
    for first, second in zip(*calls, strict=True):
        addresses = {np.asarray(memoryview(tensor)).ctypes.data for tensor in (first, second)}
        assert len(addresses) == 1


@each_op
@pytest.mark.parametrize(
    ("coefficients", "num_saved", "message"),
    [
        (tf.ones([3]), None, r"coefficients has shape \[3\], expected \[\] or \[batch\] = \[4\]"),
        (tf.ones([4, 1]), None, r"coefficients has shape \[4,1\], expected"),
        (tf.ones([4], tf.float64), None, "coefficients has dtype double, expected float"),
        (tf.ones([4]), 1, "num_saved = 1, expected [35]"),
        (None, 1, "num_saved = 1, expected [35].* and 0 without"),
    ],
)
def test_malformed_coefficients(sampled, coefficients, num_saved, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        Raw(sampled).forward([] if coefficients is None else [coefficients], num_saved)


# ---- Wherever TensorFlow runs them ---------------------------------------------------------------


@some_losses
def test_eagerly_only_for_a_tape(loss, saved):
    setting = Setting(loss, "tensor")
    setting.loss()
    assert saved[-1] == 0
    with tf.GradientTape():
        with pytest.warns(fastw2v.GradientWarning):
            setting.loss()
    assert saved[-1] == 0
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        setting.problem.fused(setting.arguments)
        assert saved[-1] == 0  # no reduction
        setting.loss()
        assert saved[-1] > 0


@some_losses
def test_an_eager_tape_runs_nothing_for_what_is_saved(loss):
    """Tapes make zeros for outputs that no gradient arrives at, here as large as the tables."""
    setting = Setting(loss)
    made = []

    def note(op_type, inputs, attributes, outputs, op_name=None, graph=None):
        made.extend(output.dtype for output in outputs)

    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = setting.loss()
    op_callbacks.add_op_callback(note)
    try:
        tape.gradient(value, setting.sources)
    finally:
        op_callbacks.remove_op_callback(note)
    assert made and tf.uint8 not in made


@pytest.mark.parametrize("form", ["variable", "shards", "tensor"])
@some_losses
def test_functions(loss, form):
    setting = Setting(loss, form)
    expected = setting.expected
    loss_function = tf.function(setting.loss)

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            value = function()
        return tape.gradient(value, setting.sources)

    setting.check(tf.function(gradients)(setting.loss), expected)  # the tape inside
    setting.check(gradients(loss_function), expected)  # outside
    setting.check(tf.function(gradients)(loss_function), expected)  # between two functions


@some_losses
def test_a_persistent_tape(loss):
    setting = Setting(loss)
    expected = setting.expected
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(setting.watched)
        once = setting.loss()
        thrice = 3 * once
    for value, factor in ((once, 1), (thrice, 3), (once, 1)):
        gradients = tape.gradient(value, setting.sources)
        setting.check(gradients, expected, factor)
        for parts in gradients.values():  # what a caller does with them stays with the caller
            for part in parts:
                tf.raw_ops.Mul(x=getattr(part, "values", part), y=tf.constant(2.0, tf.float64))


def test_a_recompute_block():
    setting = Setting("linear", "tensor")
    names = list(setting.tables)
    block = tf.recompute_grad(
        lambda *tables: setting.problem.fused(
            dict(zip(names, tables, strict=True)), reduction="mean"
        )
    )
    with tf.GradientTape() as tape:
        tape.watch(setting.watched)
        value = 3 * block(*setting.arguments.values())
    setting.check(tape.gradient(value, setting.sources), setting.expected, 3)


@pytest.mark.parametrize("reduction", ["none", "sum"])
@some_losses
def test_one_table_is_trained(loss, reduction):
    """In a function nobody asks for the gradients of the other tables."""
    setting = Setting(loss, reduction=reduction)
    expected = {**Setting(loss, reduction="sum").expected}

    @tf.function(reduce_retracing=True)
    def gradients(name):
        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            value = 3 * setting.loss()
        return tape.gradient(value, {name: setting.sources[name]})

    for name, table in setting.tables.items():
        dense = table.dense(gradients(name)[name])
        np.testing.assert_allclose(dense, 3 * expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@every_loss
def test_second_derivatives(case, loss, dtype, weighted):
    setting = Setting(loss)
    problem = setting.problem
    weight = tf.Variable(np.linspace(0.5, 2.0, case.batch))

    def norm_gradient(loss, arguments, sources):
        with tf.GradientTape() as second:
            second.watch(sources)
            with tf.GradientTape() as first:
                first.watch(sources)
                value = loss(arguments) ** 2
            norm = 0.0
            for gradient in first.gradient(value, list(arguments.values())):
                norm += tf.reduce_sum(tf.convert_to_tensor(gradient) ** 2)
        return second.gradient(norm, sources)

    def fused(tables):
        options = {"sample_weight": weight} if weighted else {}
        return problem.fused(tables, reduction="mean", **options)

    def reference(tables):
        each = problem.reference(tables)
        factor = weight if weighted else tf.ones_like(weight)
        return tf.reduce_sum(factor * each) / tf.reduce_sum(factor)

    sources = {**setting.arguments, "weight": weight} if weighted else setting.arguments
    plain = {**problem.tables, "weight": weight} if weighted else problem.tables
    expected = norm_gradient(reference, problem.tables, plain)

    def differentiated():
        return norm_gradient(fused, setting.arguments, sources)

    for function in (differentiated, tf.function(differentiated)):
        got = function()
        for name, truth in expected.items():
            np.testing.assert_allclose(
                tf.convert_to_tensor(got[name]),
                tf.convert_to_tensor(truth),
                rtol=1e-8,
                atol=1e-10,
                err_msg=name,
            )


def test_forward_mode():
    """Directional derivatives of the loss, and of its gradient while a tape records too. TensorFlow
    has them for tensors with dense gradients."""
    setting = Setting("linear", "tensor")
    name = "weights"
    source = setting.arguments[name]
    direction = tf.constant(np.random.default_rng(6).normal(size=source.shape))
    plain = setting.problem.tables[name]

    def derivatives(loss, source, watched):
        with tf.autodiff.ForwardAccumulator(source, direction) as accumulator:
            with tf.GradientTape() as tape:
                tape.watch(watched)
                value = loss()
            gradient = tf.convert_to_tensor(tape.gradient(value, source))
        return accumulator.jvp(value), accumulator.jvp(gradient)

    def reference():
        return tf.reduce_mean(setting.problem.reference({**setting.problem.tables, name: plain}))

    expected = derivatives(reference, plain, [plain])

    def fused():
        return derivatives(setting.loss, source, setting.watched)

    for function in (fused, tf.function(fused)):
        for ours, truth in zip(function(), expected, strict=True):
            np.testing.assert_allclose(ours, truth, rtol=1e-9, atol=1e-12)


def handed_to_gradient_ops(graph: tf.Graph) -> list[int]:
    """How many saved gradients each gradient op gets, in loops and branches too."""
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes.extend(function.node_def)
    return [node.attr["num_saved"].i for node in nodes if node.op.endswith("LossGrad")]


@pytest.mark.parametrize("branches", [False, True])
@some_losses
def test_a_loop_keeps_no_gradients_of_its_turns(loss, branches):
    """A gradient made after a loop would need what was saved in every turn."""
    setting = Setting(loss)

    @tf.function
    def gradients(steps):
        def turn(i, total):
            if branches:
                return i + 1, tf.cond(i < steps, lambda: total + setting.loss(), lambda: total)
            return i + 1, total + setting.loss()

        with tf.GradientTape() as tape:
            tape.watch(setting.watched)
            start = (0, tf.constant(0.0, tf.float64))
            _, total = tf.while_loop(lambda i, _: i < steps, turn, start)
        return tape.gradient(total, setting.sources)

    concrete = gradients.get_concrete_function(tf.constant(3))
    setting.check(concrete(tf.constant(3)), setting.expected, 3)
    assert set(handed_to_gradient_ops(concrete.graph)) == {0}


@some_losses
def test_a_loop_that_trains_does_it_in_one_pass(loss):
    setting = Setting(loss)
    expected = setting.expected

    @tf.function
    def gradients(steps):
        results = [tf.zeros_like(table) for table in setting.arguments.values()]
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                tape.watch(setting.watched)
                value = setting.loss()
            results = [
                result + tf.convert_to_tensor(gradient)
                for result, gradient in zip(
                    results, tape.gradient(value, list(setting.arguments.values())), strict=True
                )
            ]
        return results

    concrete = gradients.get_concrete_function(tf.constant(2))
    got = dict(zip(setting.tables, ([result] for result in concrete(tf.constant(2))), strict=True))
    setting.check(got, expected, 2)
    assert min(handed_to_gradient_ops(concrete.graph)) > 0


@pytest.mark.parametrize("loss", ["exact", "sampled"])
def test_a_saved_model(loss, tmp_path):
    setting = Setting(loss)
    module = tf.Module()
    module.tables = list(setting.arguments.values())

    @tf.function(input_signature=[])
    def step():
        with tf.GradientTape() as tape:
            value = setting.loss()
        return [tf.convert_to_tensor(part) for part in tape.gradient(value, module.tables)]

    module.step, module.loss = step, tf.function(setting.loss, input_signature=[])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    with tf.GradientTape() as tape:
        value = loaded.loss()
    np.testing.assert_array_equal(value, setting.loss())
    outside = tape.gradient(value, loaded.tables)
    for gradient, other, truth in zip(
        loaded.step(), outside, setting.expected.values(), strict=True
    ):
        np.testing.assert_allclose(gradient, truth, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(tf.convert_to_tensor(other), truth, rtol=1e-9, atol=1e-12)


# ---- What nobody asks for ------------------------------------------------------------------------

INFERENCE = """
classes, dim = 400_000, 64  # 102 MB
tables = [variable(8, dim), variable(classes, dim), variable(classes)]

@tf.function
def loss():
    return fastw2v.softmax_loss(*tables, np.arange(8), np.arange(8), reduction="mean")

@tf.function
def weights_gradient():
    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, tables)[1]

fastw2v.softmax_loss(*tables, np.arange(8), np.arange(8))
print(added(loss)[0], added(weights_gradient)[0])
"""


def test_inference_in_a_function_makes_no_gradients():
    inference, training = measured(INFERENCE)
    table = 400_000 * 64 * 4
    assert inference < 0.5 * table
    assert training > 0.9 * table  # that the measure would have shown it
