"""NaN, gradients of zero and wrong ids are traced to the op and the line that made them."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from fastw2v.doctor import explain
from fastw2v.doctor.findings import loss_errors
from fastw2v.doctor.findings.repeated_rows import repeated_rows
from fastw2v.doctor.findings.useless import UselessGradients
from fastw2v.doctor.observe.recording import Recorder
from fastw2v.doctor.trace.value_log import ValueLog

IDS = tf.constant([1, 1, 3])


@pytest.fixture
def table():
    values = tf.random.stateless_normal([7, 5], seed=(1, 2))
    return tf.Variable(values, name="table")


@pytest.fixture
def kernel():
    values = tf.random.stateless_normal([5, 10], seed=(3, 4))
    return tf.Variable(values, name="kernel")


def examine(loss_fn, variables, **options):
    """Findings of one step."""
    with Recorder() as recorder, ValueLog(recorder) as log:
        with tf.GradientTape() as tape:
            loss = loss_fn()
        gradients = tape.gradient(loss, variables)
        return UselessGradients(log, **options).find(loss, variables, gradients)


def only(findings, kind, op, line, variables):
    """The one cause of all findings."""
    assert {finding.kind for finding in findings} == {kind}
    assert [finding.variable for finding in findings] == variables
    for finding in findings:
        assert finding.op == op
        assert line in finding.place.text
        assert finding.place.file == __file__
        assert finding.path[-1].op == op
    return findings[0].detail


def test_inf_made_by_a_gradient():
    scale = tf.Variable([0.0, 4.0], name="scale")

    def loss():
        return tf.reduce_sum(tf.sqrt(scale))

    findings = examine(loss, [scale])
    detail = only(findings, "not_finite", "Sqrt", "tf.sqrt(scale)", ["scale"])
    assert detail == (
        "Its gradient has Inf. The first Inf was made by the gradient of Sqrt; its result "
        "is 0 to 2."
    )


def test_nan_that_began_as_inf(table, kernel):
    def loss():
        probabilities = tf.nn.relu(tf.gather(table, IDS) @ kernel - 100.0)
        return -tf.reduce_mean(tf.math.log(probabilities))

    findings = examine(loss, [table, kernel])
    detail = only(findings, "not_finite", "Log", "tf.math.log", ["table", "kernel"])
    assert "its input is 0." in detail and "The gradient of Relu (" in detail
    assert [step.op for step in findings[0].path] == [
        "ResourceGather",
        "MatMul",
        "Sub",
        "Relu",
        "Log",
    ]


def test_nan_made_forward():
    x = tf.Variable([1.0, -2.0], name="x")

    def loss():
        return tf.reduce_sum(tf.math.log(x))

    detail = only(examine(loss, [x]), "not_finite", "Log", "tf.math.log(x)", ["loss"])
    assert detail == "The loss has NaN. The first NaN was made by Log; its input is -2 to 1."


def test_the_nan_of_a_variable_and_of_the_data(kernel):
    inputs = tf.constant([[np.nan] * 5])
    (finding,) = examine(lambda: tf.reduce_sum(inputs @ kernel), [kernel])
    assert finding.detail == "Its gradient has NaN. The NaN came with the data."
    kernel.assign(kernel / 0.0 * 0.0)
    (finding,) = examine(lambda: tf.reduce_sum(tf.square(kernel)), [kernel])
    assert finding.detail == "Its gradient has NaN. The NaN was in this variable before the step."


def test_a_compiled_function_is_not_looked_into(kernel):
    @tf.function
    def loss():
        return tf.reduce_sum(tf.sqrt(kernel * 0.0))

    (finding,) = examine(loss, [kernel])
    assert finding.kind == "not_finite" and "run_functions_eagerly" in finding.detail
    tf.config.run_functions_eagerly(True)
    try:
        findings = examine(loss, [kernel])
    finally:
        tf.config.run_functions_eagerly(False)
    only(findings, "not_finite", "Sqrt", "tf.sqrt", ["kernel"])


def test_nan_inside_functions(kernel):
    """`explain` finds the op, in branches, loops, and functions of functions."""
    x = tf.Variable([1.0, -2.0], name="x")

    @tf.function
    def logarithm(values):
        return tf.math.log(values)

    @tf.function
    def forward():
        value = 2.0 * x
        for _ in tf.range(2):
            if tf.reduce_sum(value) < 0.0:
                value = logarithm(value)
        return tf.reduce_sum(value)

    @tf.function
    def backward():
        return tf.reduce_sum(tf.sqrt(kernel * 0.0))

    (finding,) = explain(forward, [x]).findings
    assert (finding.variable, finding.kind, finding.op) == ("loss", "not_finite", "Log")
    assert finding.place.text == "return tf.math.log(values)"
    assert finding.detail == (
        "The loss has NaN. The first NaN was made by Log; its input is -4 to 2."
    )
    findings = explain(lambda: 3.0 * backward(), [kernel]).findings
    detail = only(findings, "not_finite", "Sqrt", "tf.sqrt", ["kernel"])
    assert "by the gradient of Sqrt" in detail
    assert [step.op for step in findings[0].path] == ["Mul", "Sqrt"]


def test_a_nan_that_a_function_was_given(kernel):
    inputs = tf.constant([[np.nan] * 5])
    loss = tf.function(lambda x: tf.reduce_sum(x @ kernel))
    (finding,) = explain(loss, [kernel], inputs).findings
    assert finding.detail == "Its gradient has NaN. The NaN came with the data."
    kernel.assign(kernel / 0.0 * 0.0)
    (finding,) = explain(loss, [kernel], tf.ones([1, 5])).findings
    assert finding.detail == "The loss has NaN. The NaN was in a variable before the step."


COUNTER = tf.Variable(1.0)


def count(x):
    product = x * COUNTER
    COUNTER.assign_add(1.0)
    return product


UNREPEATABLE = {
    "draws": lambda x: tf.nn.dropout(x, 0.5),
    "writes what it reads": count,
    "calls Python": lambda x: tf.py_function(lambda y: y, [x], tf.float32),
    "has a gradient of its own": tf.custom_gradient(lambda x: (x, lambda dy: dy)),
}


@pytest.mark.parametrize("name", UNREPEATABLE)
def test_functions_that_are_not_run_again(name, kernel):
    """Nothing is done twice, and nothing is guessed."""

    def bad():
        return tf.reduce_sum(tf.sqrt(UNREPEATABLE[name](kernel) * 0.0))

    def dead():
        return tf.reduce_sum(tf.sign(UNREPEATABLE[name](kernel)))

    before = COUNTER.numpy()
    (finding,) = explain(tf.function(bad), [kernel]).findings
    assert (finding.kind, finding.detail.split(";")[0]) == (
        "not_finite",
        "Its gradient has NaN. It was made inside a tf.function that draws numbers, writes, or "
        "cannot be run op by op for another reason",
    )
    assert COUNTER.numpy() == before + (name == "writes what it reads")
    assert explain(tf.function(dead), [kernel]).findings == ()


def test_a_function_of_what_has_changed_is_not_run_again(kernel):
    scale = tf.Variable(0.0)
    function = tf.function(lambda: tf.reduce_sum(tf.sqrt(kernel * scale)))

    def loss():
        value = function()
        scale.assign(1.0)
        return value

    (finding,) = explain(loss, [kernel]).findings
    assert finding.kind == "not_finite" and "run_functions_eagerly" in finding.detail


def test_infinite_masks_are_healthy(kernel):
    def loss():
        mask = tf.constant([0.0] * 4 + [-np.inf])
        return tf.reduce_sum(tf.nn.softmax(kernel[:, 0] + mask) ** 2)

    assert examine(loss, [kernel]) == []


DEAD = {
    "relu": ("Relu", lambda x: tf.nn.relu(x - 100.0), "its result is 0."),
    "sigmoid": ("Sigmoid", lambda x: tf.sigmoid(x + 1000.0), "its result is 1."),
    "sign": ("Sign", lambda x: tf.sign(x), "flat on both sides of 0."),
    "clip": ("Minimum", lambda x: tf.clip_by_value(x + 100.0, -1.0, 1.0), "(clipped)."),
    "mask": ("Mul", lambda x: x * tf.zeros([3, 10]), "its other factor is all zeros."),
    "where": ("SelectV2", lambda x: tf.where(x < 1e9, 1.0, x), "the other input everywhere."),
    "one class": ("Softmax", lambda x: tf.nn.softmax(x[:, :1]), "is 1 whatever its input."),
}


@pytest.mark.parametrize("name", DEAD)
def test_dead_gradients(name, table, kernel):
    op, function, reason = DEAD[name]

    def loss():
        # The sum of two gradients of zero is zero, too.
        hidden = tf.gather(table, IDS) @ kernel
        return tf.reduce_sum(function(hidden)) + tf.reduce_sum(function(2.0 * hidden))

    findings = examine(loss, [table, kernel])
    assert [finding.variable for finding in findings] == ["table", "kernel"]
    for finding in findings:
        assert (finding.kind, finding.op) == ("zero_gradient", op)
        assert finding.detail.endswith(reason)
        assert finding.path[0].op in ("ResourceGather", "MatMul")
        assert finding.place.file == __file__


@pytest.mark.parametrize("name", DEAD)
def test_dead_gradients_inside_functions(name, table, kernel):
    op, function, reason = DEAD[name]
    inner = tf.function(function)
    lookup = tf.function(lambda: tf.gather(table, IDS) @ kernel)

    @tf.function
    def whole():
        return tf.reduce_sum(inner(tf.gather(table, IDS) @ kernel))

    def in_pieces():
        hidden = lookup()
        return tf.reduce_sum(inner(hidden)) + tf.reduce_sum(inner(2.0 * hidden))

    for loss in (whole, in_pieces):
        findings = explain(loss, [table, kernel]).findings
        assert [finding.variable for finding in findings] == ["table", "kernel"]
        for finding in findings:
            assert (finding.kind, finding.op) == ("zero_gradient", op)
            assert finding.detail.endswith(reason)
            assert finding.place.file == __file__
    assert explain(lambda: tf.reduce_sum(lookup()), [table, kernel]).ok


def test_a_zero_that_came_to_a_function(table, kernel):
    """A zero that is made eagerly is known without a look inside of the function before."""
    lookup = tf.function(lambda: tf.gather(table, IDS) @ kernel)
    findings = examine(lambda: tf.reduce_sum(tf.sign(2.0 * lookup())), [table, kernel])
    assert [(f.variable, f.kind, f.op) for f in findings] == [
        ("table", "zero_gradient", "Sign"),
        ("kernel", "zero_gradient", "Sign"),
    ]


def test_a_zero_is_put_down_to_its_own_results(kernel):
    """What keeps another result of the function from training is not the reason."""
    other, which = tf.Variable([1.0], name="other"), tf.Variable(1.0)

    @tf.function
    def two():
        used = tf.reduce_sum(kernel) if which < 0.0 else 0.0
        return used, 2.0 * other

    def loss():
        first, second = two()
        return first + tf.reduce_sum(tf.sign(second))

    def only_second():
        return tf.reduce_sum(tf.sign(two()[1]))

    assert explain(loss, [kernel]).findings == ()
    assert explain(only_second, [kernel]).findings == ()
    (finding,) = explain(only_second, [other]).findings
    assert (finding.kind, finding.op) == ("zero_gradient", "Sign")


@pytest.mark.parametrize("compiled", [False, True])
def test_zero_at_the_start_is_healthy(table, compiled):
    """Weights of zero, as in word2vec, and a ReZero branch leave zero with their first step."""
    weights = tf.Variable(tf.zeros([5, 10]), name="weights")
    alpha = tf.Variable(0.0, name="alpha")

    def loss():
        logits = tf.gather(table, IDS) @ (2.0 * weights)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(IDS, logits)
        return tf.reduce_sum(losses) + alpha * tf.reduce_sum(tf.tanh(table))

    loss = tf.function(loss) if compiled else loss
    assert explain(loss, [table, weights, alpha]).findings == ()

    def in_pieces():
        double = tf.function(lambda: 2.0 * weights)
        product = tf.function(lambda factor: tf.gather(table, IDS) @ factor)
        return product(double() if compiled else 2.0 * weights)

    assert explain(in_pieces, [table, weights]).findings == ()


def test_a_gradient_at_its_minimum_is_healthy(table):
    assert examine(lambda: tf.reduce_sum((table - table.numpy()) ** 2), [table]) == []


def test_patience(kernel):
    with Recorder() as recorder, ValueLog(recorder) as log:
        judge = UselessGradients(log, patience=3)
        told = []
        for step in range(6):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.nn.relu(kernel - (0.0 if step == 1 else 100.0)))
            told.append(len(judge.find(loss, [kernel], [tape.gradient(loss, kernel)])))
    assert told == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    "dtype, first, became", [("float32", 2**24 + 1, 2**24), ("float16", 2049, 2048)]
)
def test_ids_cast_through_floats(dtype, first, became):
    large = tf.Variable(tf.zeros([first + 2, 1]), name="large")
    ids = tf.constant([first, 5])

    def loss():
        rows = tf.cast(tf.reshape(tf.cast(ids, dtype), [-1]), tf.int32)
        return tf.reduce_sum(tf.gather(large, rows) + 1.0)

    findings = examine(loss, [large])
    assert [(f.variable, f.kind, f.op) for f in findings] == [
        ("large", "ids_cast_to_float", "ResourceGather")
    ]
    assert findings[0].detail.startswith(f"{first} became {became} in a cast to {dtype}")


def test_ids_that_came_as_floats():
    large = tf.Variable(tf.zeros([2**24 + 2, 1]), name="large")
    ids = tf.constant([2.0**24, 5.0])
    findings = examine(lambda: tf.reduce_sum(tf.gather(large, tf.cast(ids, tf.int32))), [large])
    assert [finding.kind for finding in findings] == ["ids_cast_to_float"]


def test_small_ids_in_floats_are_healthy(table):
    ids = tf.cast(IDS, tf.float32)
    loss = lambda: tf.reduce_sum(tf.gather(table, tf.cast(ids, tf.int64)))  # noqa: E731
    assert examine(loss, [table]) == []


def in_graph(dtype, rows, change=lambda ids: ids):
    """Findings about ids that a compiled function is given in a type."""
    large = tf.Variable(tf.zeros([rows, 1]), name="large")

    @tf.function
    def loss(ids):
        numbers = tf.cast(tf.reshape(change(ids), [-1]), tf.int64)
        return tf.reduce_sum(tf.gather(large, numbers) + 1.0)

    return examine(lambda: loss(tf.constant([[5, 7]], dtype)), [large])


@pytest.mark.parametrize(
    "dtype, rows",
    [("float32", 2**24), ("float16", 2**11), ("bfloat16", 2**8)],
)
def test_ids_in_graphs(dtype, rows):
    assert in_graph(dtype, rows) == []
    found = in_graph(dtype, rows + 1)
    assert [(f.variable, f.kind, f.op) for f in found] == [
        ("large", "ids_cast_to_float", "ResourceGather")
    ]
    assert found[0].detail == (
        f"They name one of {rows + 1:,} rows and pass through {dtype}, which holds integers up to "
        f"{rows:,} only."
    )
    assert "tf.gather(large, numbers)" in found[0].place.text


def test_ids_in_graphs_that_are_healthy():
    assert in_graph("int32", 300) == []
    assert in_graph("float32", 300) == []
    through_double = in_graph("int64", 300, lambda ids: tf.cast(ids, tf.float64))
    assert through_double == []
    # Floats that were computed, as a hash or a draw, name rows as they are meant to.
    assert in_graph("bfloat16", 300, lambda ids: tf.floor(ids * 40)) == []


def test_integers_cast_in_graphs():
    found = in_graph("int64", 300, lambda ids: tf.cast(ids, tf.bfloat16))
    assert [finding.kind for finding in found] == ["ids_cast_to_float"]


def test_labels_cast_in_graphs(table):
    kernel = tf.Variable(tf.zeros([5, 300]), name="kernel")

    @tf.function
    def loss(labels):
        logits = tf.gather(table, [0, 1]) @ kernel
        labels = tf.cast(tf.cast(labels, tf.bfloat16), tf.int32)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    found = examine(lambda: loss(tf.constant([2, 257])), [table, kernel])
    assert [(f.variable, f.kind) for f in found] == [("labels", "ids_cast_to_float")]


@pytest.mark.parametrize("labels, told", [([3, 12], True), ([3, -1], False), ([-5, 12], False)])
def test_labels_outside_of_one_hot(labels, told, table, kernel):
    def loss():
        targets = tf.one_hot(labels, 10)
        logits = tf.gather(table, [0, 1]) @ kernel
        return tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(targets, logits))

    findings = examine(loss, [table, kernel])
    assert [finding.kind for finding in findings] == ["label_out_of_range"] * told
    if told:
        assert findings[0].detail == "12 is not in [0, 10)."
        assert "tf.one_hot(labels" in findings[0].place.text


ERRORS = {
    "gather": ("ids_out_of_range", "ResourceGather", lambda t, k: tf.gather(t, [1, 9])),
    "gather of a tensor": ("ids_out_of_range", "GatherV2", lambda t, k: tf.gather(t + 1.0, [-1])),
    "labels": (
        "ids_out_of_range",
        "SparseSoftmaxCrossEntropyWithLogits",
        lambda t, k: tf.nn.sparse_softmax_cross_entropy_with_logits([10], t[:1] @ k),
    ),
    "one row": ("rank", "MatMul", lambda t, k: tf.gather(t, 3) @ k),
    "scalar label": (
        "rank",
        None,
        lambda t, k: tf.nn.sparse_softmax_cross_entropy_with_logits(3, t[:1] @ k),
    ),
    "labels of sampled softmax": (
        "rank",
        "LogUniformCandidateSampler",
        lambda t, k: tf.nn.sampled_softmax_loss(
            tf.transpose(k), tf.zeros([10]), tf.constant([3]), t[:1], 2, 10
        ),
    ),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ERRORS)
def test_errors(name, compiled, table, kernel):
    kind, op, function = ERRORS[name]

    def loss():
        return tf.reduce_sum(function(table, kernel))

    with pytest.raises(Exception) as raised:  # noqa: B017 - TensorFlow raises several types
        (tf.function(loss) if compiled else loss)()
    (finding,) = loss_errors.explain_error(raised.value)
    assert finding.kind == kind and finding.place.file == __file__
    assert finding.op in (op, None) if compiled else finding.op == op
    assert finding.detail.startswith("TensorFlow says: ")


@pytest.mark.parametrize(
    "error", [ValueError("Shapes (3,) and (4,) are incompatible"), KeyError("a"), ValueError()]
)
def test_other_errors_are_not_explained(error):
    assert loss_errors.explain_error(error) == []


@pytest.mark.parametrize("name", ["Adam", "Adagrad", "RMSprop", "SGD"])
def test_repeated_rows(name, table):
    gradient = tf.IndexedSlices(tf.ones([3, 5]), IDS, tf.constant([7, 5]))
    optimizer = getattr(tf.keras.optimizers, name)(0.1)
    findings = repeated_rows([table], [gradient], optimizer)
    if name == "SGD":
        assert findings == []
    else:
        assert [(f.variable, f.kind) for f in findings] == [("table", "repeated_rows")]
        assert findings[0].detail.startswith(f"Row 1 occurs 2 times in its gradient, and {name} ")


def test_unique_rows_are_healthy(table):
    gradient = tf.IndexedSlices(tf.ones([2, 5]), tf.constant([1, 3]), tf.constant([7, 5]))
    optimizer = tf.keras.optimizers.Adam()
    assert repeated_rows([table, table], [gradient, None], optimizer) == []


def test_nothing_is_kept_alive_or_left_behind():
    with Recorder() as recorder, ValueLog(recorder) as log:
        x = tf.Variable([0.0, 1.0])
        with tf.GradientTape() as tape:
            y = tf.sqrt(x)
            loss = tf.reduce_sum(y)
        gradient = tape.gradient(loss, x)
        tensors = [weakref.ref(t) for t in (y, loss, gradient, x)]
        del y, loss, gradient, x, tape
        gc.collect()
        assert [tensor() for tensor in tensors] == [None] * 4
        assert log.not_finite
    x = tf.Variable([0.0])
    seen = dict(log.not_finite)
    with tf.GradientTape() as tape:
        y = tf.sqrt(x)
    tape.gradient(y, x)
    assert log.not_finite == seen


def test_logs_may_be_nested_and_closed_in_any_order():
    x = tf.Variable([0.0])
    with Recorder() as recorder:
        first, second = ValueLog(recorder), ValueLog(recorder)
        first.__enter__()
        second.__enter__()
        first.__exit__()
        with tf.GradientTape() as tape:
            y = tf.sqrt(x)
        tape.gradient(y, x)
        second.__exit__()
    assert not first.not_finite
    assert [origin.backward for origin in second.not_finite.values()] == [True]
