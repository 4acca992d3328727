"""`explain`: the cause and the line, in functions, branches and loops; nothing left behind."""

from __future__ import annotations

import gc
import inspect
import weakref

import numpy as np
import pytest
import tensorflow as tf

from fastw2v.doctor import explain
from fastw2v.doctor.findings import missing
from fastw2v.doctor.findings.kinds import KINDS
from fastw2v.doctor.observe.recording import Recorder

total = tf.reduce_sum


def stop(x):
    return tf.stop_gradient(x)


# What becomes of a variable -> the cause. One line each: the doctor must name it.
SILENT = {
    "cast": (lambda w: total(tf.cast(tf.cast(w, "int32"), "float32")), "cast_to_integer"),
    "cast kept": (lambda w: tf.cast(total(w), "int32"), "cast_to_integer"),
    "stop": (lambda w: total(tf.stop_gradient(w) * 2.0), "stop_gradient"),
    "argmax": (lambda w: tf.cast(tf.argmax(w), "float32") * 2.0, "argmax"),
    "argmax gather": (lambda w: tf.gather([1.0, 2.0, 3.0], tf.argmax(w)), "argmax"),
    "argsort": (lambda w: total(tf.cast(tf.argsort(w), "float32")), "argmax"),
    "top_k": (lambda w: total(tf.cast(tf.math.top_k(w, 2)[1], "float32")), "argmax"),
    "one_hot": (lambda w: total(tf.one_hot(tf.cast(w, "int32"), 3)), "one_hot"),
    "round": (lambda w: total(tf.round(w) ** 2), "rounding"),
    "floor": (lambda w: total(w // 0.5), "rounding"),
    "greater": (lambda w: total(tf.cast(w > 1.0, "float32")), "comparison"),
    "where": (lambda w: total(tf.where(w > 1.0, 1.0, 2.0)), "comparison"),
    "in_top_k": (
        lambda w: total(tf.cast(tf.math.in_top_k([0], w[None], 1), "float32")),
        "comparison",
    ),
    "predicate": (
        lambda w: tf.cond(total(w) > 1.0, lambda: tf.constant(1.0), lambda: tf.constant(2.0)),
        "comparison",
    ),
    "numpy_function": (
        lambda w: total(tf.numpy_function(np.tanh, [w], tf.float32)),
        "python_function",
    ),
    "string": (lambda w: total(tf.strings.to_number(tf.strings.as_string(w))), "string"),
    "bitcast": (lambda w: total(tf.cast(tf.bitcast(w, tf.int32), "float32")), "bitcast"),
    "serialize": (
        lambda w: total(tf.io.parse_tensor(tf.io.serialize_tensor(w), tf.float32)),
        "serialize",
    ),
    "unique": (lambda w: total(tf.cast(tf.unique(w)[1], "float32")), "unique_index"),
    "searchsorted": (
        lambda w: total(tf.cast(tf.searchsorted([0.0, 1.0], w), "float32")),
        "searchsorted",
    ),
    "range": (lambda w: total(tf.range(w[2])), "range"),
    "shape": (lambda w: total(tf.cast(tf.shape(w), "float32")), "shape"),
    "size": (lambda w: tf.cast(tf.size(w * 2.0), "float32") * 2.0, "shape"),
    "zeros_like": (lambda w: total(tf.zeros_like(w) + 1.0), "zeros_like"),
    "ones_like": (lambda w: total(tf.ones_like(w * 2.0) * 3.0), "zeros_like"),
    "categorical": (
        lambda w: total(tf.cast(tf.random.categorical(w[None], 2), "float32")),
        "random_draw",
    ),
    "unused": (lambda w: total(tf.constant([1.0]) * 2.0), "unused"),
    "result unused": (lambda w: (w * 2.0, total(tf.constant([1.0]) * 2.0))[1], "unused"),
    "in a function": (lambda w: total(tf.function(stop)(w * 2.0)), "stop_gradient"),
}


def lines_of(function):
    source, first = inspect.getsourcelines(function)
    return range(first, first + len(source))


@pytest.mark.parametrize("form", ["eager", "function", "tape in function"])
@pytest.mark.parametrize("case", SILENT)
def test_silent_cause(case, form):
    function, kind = SILENT[case]
    w = tf.Variable([0.3, 1.6, 2.2])

    def loss():
        return function(w)

    if form == "tape in function":
        findings = []

        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape:
                value = loss()
            gradient = tape.gradient(value, w)
            findings.extend(missing.diagnose(value, w, gradient, recorder, tape))

        with Recorder() as recorder:
            step()
    else:
        compiled = tf.function(loss, autograph=False)
        findings = explain(loss if form == "eager" else compiled, [w]).findings
    [finding] = findings
    assert finding.kind == kind
    assert finding.variable == "w"
    assert finding.detail
    if kind == "unused":
        return
    assert finding.place.file == __file__
    if case == "in a function":
        assert finding.place.line in lines_of(stop)
        return
    assert finding.place.line in lines_of(function)
    if kind != "python_function":
        assert finding.path[-1].op == finding.op
        assert finding.path[-1].place == finding.place
        assert finding.op in KINDS[kind].ops or (kind, finding.op) == ("one_hot", "Cast")


def test_numbers_that_leave_tensorflow():
    w = tf.Variable([1.0, 2.0])

    def by_method():
        return total(tf.constant(w.numpy() * 2.0))

    def by_float():
        return float(w[0]) * tf.ones([2])

    def by_function_of_numpy():
        doubled = w * 2.0
        grown = np.exp(doubled)
        return total(tf.constant(grown))

    def to_no_tensor():
        return float(w[0]) * 2.0

    for loss, offset in ((by_method, 1), (by_float, 1), (by_function_of_numpy, 2)):
        [finding] = explain(loss, [w]).findings
        assert finding.kind == "numpy"
        assert finding.place.line == lines_of(loss)[offset]
    assert explain(to_no_tensor, w).findings[0].kind == "numpy"


def test_a_number_that_is_only_printed_is_no_cause(capsys):
    w, v = tf.Variable(1.0), tf.Variable(2.0)

    def loss():
        value = v * 2.0
        print(w.numpy())
        return value

    report = explain(loss, [w, v])
    assert [finding.kind for finding in report.findings] == ["unused"]
    assert report.connected == ("v",)


def test_a_comparison_in_python_names_the_comparison_alone():
    w = tf.Variable(1.0)

    def loss():
        if w > 0.5:
            return tf.constant(1.0)
        return tf.constant(2.0)

    [finding] = explain(loss, w).findings
    assert finding.kind == "comparison"


def test_stored_values():
    w, v = tf.Variable([1.0, 2.0]), tf.Variable([0.0, 0.0])
    read = tf.function(lambda: total(v**2))

    def new_variable():
        return total(tf.Variable(w * 2.0) ** 2)

    def assigned():
        v.assign(w * 2.0)
        return total(v**2)

    def added():
        v.assign_add(w)
        return read()

    def table():
        values = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)
        values.insert(tf.constant([1, 2], tf.int64), w)
        return total(values.lookup(tf.constant([1, 2], tf.int64)))

    def data():
        return tf.add_n(list(tf.data.Dataset.range(2).map(lambda i: total(w))))

    for loss, kind, offset in (
        (new_variable, "new_variable", 1),
        (assigned, "assignment", 1),
        (tf.function(assigned, autograph=False), "assignment", 1),
        (added, "assignment", 1),
        (table, "hash_table", 2),
        (data, "dataset", 1),
    ):
        [finding] = explain(loss, [w]).findings
        lines = lines_of(getattr(loss, "python_function", loss))
        assert (finding.kind, finding.place.line) == (kind, lines[offset])


def test_values_that_functions_store():
    w, v = tf.Variable([1.0, 2.0]), tf.Variable([0.0, 0.0])
    read = tf.function(lambda: total(v**2))

    @tf.function(autograph=False)
    def store():
        v.assign(w * 2.0)

    @tf.function(autograph=False)
    def store_inside():
        tf.cond(v[0] < 1.0, store, lambda: None)

    @tf.function(autograph=False)
    def overwrite():
        v.assign(tf.zeros([2]))

    def one_after_the_other(*functions):
        """A loss that calls functions, one of which computes it."""

        def loss():
            results = [function() for function in functions]
            return next(result for result in results if result is not None)

        return loss

    for loss in (
        one_after_the_other(store, read),
        one_after_the_other(store, lambda: total(v**2)),
        one_after_the_other(store_inside, read),
        tf.function(one_after_the_other(store, read), autograph=False),
    ):
        [finding] = explain(loss, [w]).findings
        line = lines_of(store.python_function)[2]
        assert (finding.kind, finding.place.line) == ("assignment", line)
    for loss in (one_after_the_other(read, store), one_after_the_other(store, overwrite, read)):
        assert [f.kind for f in explain(loss, [w]).findings] == ["unused"]


def test_an_assignment_after_the_read_is_no_cause():
    w, v = tf.Variable(1.0), tf.Variable(2.0)

    def loss():
        value = v * 3.0
        v.assign(w)
        return value

    assert [f.kind for f in explain(loss, [w]).findings] == ["unused"]


def test_branches_and_loops_are_entered():
    w = tf.Variable([1.0, 2.0])

    def branch():
        return tf.cond(
            total(w) > 1.0,
            lambda: total(tf.round(w)),
            lambda: total(tf.floor(w)),
        )

    def loop():
        return tf.while_loop(
            lambda i, near: i < 3,
            lambda i, near: (i + 1, near + tf.cast(tf.argmax(w), "int32")),
            [tf.constant(0), tf.constant(0)],
        )[1]

    def nested():
        return tf.while_loop(
            lambda i, near: i < 2,
            lambda i, near: (i + 1, tf.cond(i > 0, lambda: near, lambda: tf.cast(w[0], "int32"))),
            [tf.constant(0), tf.constant(0)],
        )[1]

    compiled = explain(tf.function(branch, autograph=False), w).findings
    first = lines_of(branch)[0]
    assert {(f.kind, f.place.line - first) for f in compiled} == {("rounding", 3), ("rounding", 4)}
    for inner, kind in ((loop, "argmax"), (nested, "cast_to_integer")):

        def loss(inner=inner):
            return total(tf.gather([1.0, 2.0, 3.0, 4.0], inner()))

        [finding] = explain(tf.function(loss, autograph=False), w).findings
        assert finding.kind == kind
        assert finding.place.line == lines_of(inner)[3]


def test_all_blocked_edges_in_order():
    w = tf.Variable([1.5])

    def one_after_the_other():
        near = tf.round(w * 3.0)
        return total(tf.floor(near * 0.5))

    def side_by_side():
        near = tf.round(w)
        held = tf.stop_gradient(w)
        return total(near * held)

    findings = explain(one_after_the_other, w).findings
    assert [f.op for f in findings] == ["Round", "Floor"]
    assert [step.op for step in findings[1].path] == ["Mul", "Round", "Mul", "Floor"]
    findings = explain(side_by_side, w).findings
    assert [f.kind for f in findings] == ["rounding", "stop_gradient"]


def test_what_stands_beside_the_cause_is_not_told():
    w = tf.Variable([[1.0, 2.0]])

    def loss():
        chosen = tf.where(w > 1.5, w, 0.1 * w)
        rows = tf.reshape(tf.stop_gradient(chosen), [tf.shape(w)[1], -1])
        return total(rows)

    [finding] = explain(loss, w).findings
    assert finding.kind == "stop_gradient"


def test_tapes_and_their_times():
    w, x = tf.Variable([1.0, 2.0]), tf.constant([1.0, 2.0])
    frozen = tf.Variable([1.0, 2.0], trainable=False)
    assert [f.kind for f in explain(lambda: total(frozen * x), frozen).findings] == [
        "not_trainable"
    ]
    assert [f.kind for f in explain(lambda: total(w * x), x).findings] == ["unwatched_tensor"]
    whole = tf.Variable([1, 2])
    assert [f.kind for f in explain(lambda: total(tf.cast(whole, "float32")), whole).findings] == [
        "integer_variable"
    ]

    def diagnosed(step):
        with Recorder() as recorder:
            tape, target, source = step()
            gradient = tape.gradient(target, source)
            return [f.kind for f in missing.diagnose(target, source, gradient, recorder, tape)]

    def before():
        y = w * 2.0
        z = y * 3.0
        with tf.GradientTape() as tape:
            return tape, total(z**2), w

    def after():
        with tf.GradientTape() as tape:
            y = w * 2.0
        return tape, total(y**2), w

    def stopped():
        with tf.GradientTape() as tape:
            with tape.stop_recording():
                y = w * 2.0
            return tape, total(y), w

    def reset():
        with tf.GradientTape() as tape:
            y = w * 2.0
            tape.reset()
            return tape, total(y), w

    def watched_too_late():
        with tf.GradientTape() as tape:
            y = x * 2.0
            tape.watch(x)
            return tape, total(y), x

    def nothing_watched():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            return tape, total(w), w

    def copy():
        with tf.GradientTape() as tape:
            return tape, total(w**2), tf.convert_to_tensor(w)

    def element():
        with tf.GradientTape() as tape:
            return tape, total(w**2), w[0]

    def slope():
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                y = total(w**3)
        return outer, total(inner.gradient(y, w)), w

    for step, kind in (
        (before, "before_tape"),
        (after, "after_tape"),
        (stopped, "stop_recording"),
        (reset, "before_tape"),
        (watched_too_late, "watched_too_late"),
        (nothing_watched, "no_automatic_watch"),
        (copy, "copy_of_variable"),
        (element, "copy_of_variable"),
        (slope, "inner_gradient_outside"),
    ):
        assert diagnosed(step) == [kind], step.__name__


@pytest.mark.parametrize("compiled", [False, True])
def test_custom_gradients(compiled):
    w, v = tf.Variable([1.0]), tf.Variable([2.0])

    @tf.custom_gradient
    def first_only(x, y):
        return x * y, lambda upstream: (upstream * y, None)

    def loss():
        return total(first_only(w * 2.0, v * 2.0) ** 2)

    report = explain(tf.function(loss, autograph=False) if compiled else loss, [w, v])
    assert report.connected == ("w",)
    [finding] = report.findings
    assert (finding.variable, finding.kind) == ("v", "custom_gradient")
    assert finding.place.line == lines_of(loss)[1]


@pytest.mark.parametrize("compiled", [False, True])
def test_errors_about_gradients_are_explained(compiled):
    w, v = tf.Variable([1.0, 1.0]), tf.Variable(2.0)

    def no_gradient():
        return total(tf.unique(w)[0]) * v

    loss = tf.function(no_gradient, autograph=False) if compiled else no_gradient
    [finding] = explain(loss, [w, v]).findings
    assert (finding.variable, finding.kind, finding.op) == ("w", "no_gradient_registered", "Unique")
    assert finding.place.line == lines_of(no_gradient)[1]

    def twice():
        with tf.GradientTape() as tape:
            y = w * 2.0
        tape.gradient(y, w)
        return tape.gradient(y, w)

    [finding] = explain(twice, [w]).findings
    assert finding.kind == "persistent_tape"
    assert finding.place.line == lines_of(twice)[4]


def test_other_errors_pass():
    w = tf.Variable(1.0)
    with pytest.raises(ZeroDivisionError):
        explain(lambda: 1 / 0, w)
    with pytest.raises(LookupError, match="mine"):
        explain(lambda: {}["mine"], w)
    with pytest.raises(TypeError, match="must return the loss"):
        explain(lambda: None, w)


def test_graphs_of_tensorflow_1():
    with tf.Graph().as_default(), Recorder() as recorder:
        v = tf.compat.v1.get_variable("v", [3])
        old = tf.compat.v1.get_variable("old", [3], use_resource=False)
        other = tf.compat.v1.get_variable("other", [3])
        loss = total(tf.round(v)) + total(tf.stop_gradient(old))
        sources = [v, old, other]
        gradients = tf.compat.v1.gradients(loss, sources)
        findings = missing.diagnose(loss, sources, gradients, recorder)
    assert [(f.variable, f.kind) for f in findings] == [
        ("v", "rounding"),
        ("old", "stop_gradient"),
        ("other", "unused"),
    ]
    assert all(f.place.file == __file__ for f in findings)


def test_arguments_and_structures():
    w, v = tf.Variable([1.0]), tf.Variable([2.0])
    model = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1, name="dense")])

    def loss(x, *, scale):
        return [model(x), scale * w]

    variables = {"a": w, "b": [v], "c": model.trainable_variables}
    report = explain(loss, variables, tf.ones([1, 1]), scale=v)
    assert report.ok
    assert [name.split("/")[-1] for name in report.connected] == ["w", "v", "kernel", "bias"]
    [finding] = explain(loss, [w, v], tf.ones([1, 1]), scale=3.0).findings
    assert (finding.variable, finding.kind) == ("v", "unused")


def test_a_healthy_model_is_connected():
    w = tf.Variable(tf.ones([3, 2]), name="weights")
    report = explain(lambda x: total(tf.nn.relu(x @ w)), [w], tf.ones([4, 3]))
    assert report.ok
    assert report.connected == ("weights",)
    assert report.findings == ()


def test_nothing_changes_and_nothing_stays():
    w = tf.Variable([1.0, 2.0])

    def draws():
        return total(w * tf.random.normal([2]) + tf.nn.dropout(w, 0.5)), tf.random.uniform([])

    def numbers(run):
        tf.random.set_seed(3)
        return [[t.numpy().tolist() for t in run()] for _ in range(3)]

    alone = numbers(draws)
    with Recorder():
        assert numbers(draws) == alone
        with Recorder():  # nested
            assert numbers(draws) == alone
    names = ("numpy", "__array__", "__float__")
    tensor = type(tf.constant(1.0)).__mro__[1]
    assert all(getattr(tensor, name).__module__.startswith("tensorflow") for name in names)
    assert "_handle" not in vars(type(w).__mro__[1])
    before = dict(vars(tf.GradientTape))
    explain(lambda: total(w), w)
    assert dict(vars(tf.GradientTape)) == before


def test_a_recorder_keeps_no_tensor_alive():
    with Recorder() as recorder:
        tensor = tf.ones([3]) * 2.0
        total(tensor).numpy()
        gone = weakref.ref(tensor)
        del tensor
        gc.collect()
        assert gone() is None
        assert recorder.events


def test_what_is_forgotten_is_undecided():
    w = tf.Variable(1.0)
    with Recorder(limit=20) as recorder:
        y = tf.round(w)
        for _ in range(30):
            y = y + 1.0
        with tf.GradientTape() as tape:
            loss = y * 2.0
        gradient = tape.gradient(loss, w)
        [finding] = missing.diagnose(loss, w, gradient, recorder, tape)
    assert recorder.forgotten
    assert len(recorder.events) == 20
    assert finding.kind == "undecided"


def test_what_explain_takes():
    weights = tf.Variable([1.0])
    with pytest.raises(TypeError, match="loss_fn has type EagerTensor, expected a function"):
        explain(total(weights), [weights])
    with pytest.raises(ValueError, match=r"variables = \[\] names no variable; a Keras model has"):
        explain(lambda: total(weights), [])
