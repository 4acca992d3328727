"""The row-wise optimizers against those of Keras on the dense gradient."""

from __future__ import annotations

import gc
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v import _kernels as kernels
from fastw2v import optimizers
from fastw2v.optimizers.rows import RowOptimizer

ROWS, DIM = 40, 6
NAMES = [name for name in optimizers.__all__ if name != "LossScaleOptimizer"]

# Name: class, arguments. Where Keras does not update other rows either, lazy or not is the same.
EXACT = {
    "sgd": ("SGD", {}),
    "adagrad": ("Adagrad", {"initial_accumulator_value": 0.05, "epsilon": 1e-5}),
    "ftrl": ("Ftrl", {"l1_regularization_strength": 0.01, "beta": 0.1}),
}
PENDING = {
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "decay": ("SGD", {"weight_decay": 0.1}),
    "adagrad_decay": ("Adagrad", {"weight_decay": 0.1}),
    "adam": ("Adam", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamw": ("AdamW", {"weight_decay": 0.1}),
    "ftrl": ("Ftrl", {}),
    "lion": ("Lion", {"weight_decay": 0.1}),
    "ftrl_shrinkage": ("Ftrl", {"l2_shrinkage_regularization_strength": 0.01}),
    "averages": ("Adam", {"use_ema": True, "ema_momentum": 0.8}),
}
EVERYWHERE = {
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.3},
    "loss_scale_factor": {"loss_scale_factor": 16.0},
    "averages": {"use_ema": True, "ema_momentum": 0.8},
    "averages_written": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4},
    "accumulation": {"gradient_accumulation_steps": 2},
    "schedule": {"learning_rate": keras.optimizers.schedules.CosineDecay(0.2, 8)},
    "callable": {"learning_rate": lambda: 0.07},
}


def steps(seed, count=12):
    """Slices with repeated rows, some of which come at nearly every step."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, ROWS + 1)
    for _ in range(count):
        ids = rng.choice(ROWS, size=10, p=share / share.sum())
        values = rng.normal(size=(10, DIM)).astype(np.float32)
        yield tf.IndexedSlices(tf.constant(values), tf.constant(ids), tf.constant([ROWS, DIM]))


def start(name, seed=0):
    if name == "Ftrl":
        return np.zeros((ROWS, DIM), np.float32)  # where Keras puts a row at the first step
    return np.random.default_rng(seed).normal(size=(ROWS, DIM)).astype(np.float32)


def compare(name, arguments, lazy, tolerance=3e-6):
    """Trains with both; the other variable always has a dense gradient."""
    arguments = {"learning_rate": 0.1, **arguments}
    ours = getattr(optimizers, name)(**arguments, lazy=lazy)
    theirs = getattr(keras.optimizers, name)(**arguments)
    tables = [tf.Variable(start(name)) for _ in range(2)]
    others = [tf.Variable(tf.ones([3])) for _ in range(2)]
    for optimizer, *variables in zip((ours, theirs), tables, others, strict=True):
        optimizer.build(variables)
    for slices in steps(1):
        dense = tf.convert_to_tensor(slices)
        other = tf.reduce_sum(slices.values) * tf.constant([1.0, -2.0, 0.5])
        ours.apply_pending(tables[0], slices.indices)
        ours.apply_gradients([(slices, tables[0]), (other, others[0])])
        theirs.apply_gradients([(dense, tables[1]), (other, others[1])])
    for optimizer, *variables in zip((ours, theirs), tables, others, strict=True):
        optimizer.finalize_variable_values(variables)
    np.testing.assert_allclose(tables[0], tables[1], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(others[0], others[1], rtol=tolerance, atol=tolerance)
    assert int(ours.iterations) == int(theirs.iterations)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("case", EXACT)
def test_equals_the_dense_optimizer(case, lazy):
    compare(*EXACT[case], lazy=lazy)


@pytest.mark.parametrize("case", PENDING)
def test_equals_the_dense_optimizer_when_pending_updates_are_applied(case):
    compare(*PENDING[case], lazy=False)


@pytest.mark.parametrize("case", EVERYWHERE)
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_what_all_optimizers_of_keras_can_do(name, case):
    compare(name, EVERYWHERE[case], lazy=True)


def test_rowwise_adagrad_has_a_number_for_each_row():
    optimizer = optimizers.RowwiseAdagrad(0.1, initial_accumulator_value=0.2, epsilon=1e-3)
    table, other = tf.Variable(start("SGD")), tf.Variable(tf.ones([3]))
    optimizer.build([table, other])
    weights, sums = table.numpy().astype(np.float64), np.full(ROWS, 0.2)
    for slices in steps(2):
        dense = tf.convert_to_tensor(slices).numpy()
        sums += np.mean(dense.astype(np.float64) ** 2, axis=1)
        weights -= 0.1 * dense / np.sqrt(sums + 1e-3)[:, None]
        optimizer.apply_gradients([(slices, table), (tf.ones([3]), other)])
    np.testing.assert_allclose(table, weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optimizer.variables[2], sums, rtol=1e-5)


@pytest.mark.parametrize("name", optimizers.__all__)
def test_arguments_are_those_of_keras(name):
    if name in ("LossScaleOptimizer", "RowwiseAdagrad"):
        keras_name = {"RowwiseAdagrad": "Adagrad"}.get(name, name)
    else:
        keras_name = name
    expected = set(inspect.signature(getattr(keras.optimizers, keras_name)).parameters)
    got = set(inspect.signature(getattr(optimizers, name)).parameters)
    assert got - {"lazy"} == expected


def test_lazy_rows_stand_still():
    optimizer = optimizers.Adam(0.1, weight_decay=0.1, lazy=True)
    table = tf.Variable(start("Adam"))
    optimizer.build([table])
    first = tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM])
    optimizer.apply_gradients([(first, table)])
    before = [value.numpy() for value in (table, *optimizer.variables[2:])]
    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [5], [ROWS, DIM]), table)])
    for array, old in zip((table, *optimizer.variables[2:]), before, strict=True):
        rows = np.delete(np.asarray(array), 5, axis=0)
        np.testing.assert_array_equal(rows, np.delete(old, 5, axis=0))
    assert not np.array_equal(table[5], before[0][5])


def test_rows_read_without_notice_are_refused():
    optimizer = optimizers.Adam(0.1, lazy=False)
    table = tf.Variable(start("Adam"))
    optimizer.build([table])
    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM]), table)])
    before = table.numpy()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="row 7 has pending updates, 1 of the 1"
    ):
        optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [7], [ROWS, DIM]), table)])
    np.testing.assert_array_equal(table, before)


def test_losses_apply_the_pending_updates_of_their_rows():
    rng = np.random.default_rng(0)
    tables = [[tf.Variable(start("Adam", i)) for i in range(2)] for _ in range(2)]
    ours, theirs = optimizers.Adam(0.1, lazy=False), keras.optimizers.Adam(0.1)
    ours.build(tables[0])
    theirs.build(tables[1])
    for i in range(6):
        ids, labels = rng.integers(ROWS, size=(2, 4))
        for optimizer, variables in zip((ours, theirs), tables, strict=True):
            with tf.GradientTape() as tape:
                loss = fastw2v.negative_sampling_loss(
                    *variables, ids, labels, num_sampled=3, seed=(1, i), reduction="mean"
                )
            grads = tape.gradient(loss, variables)
            if optimizer is theirs:
                grads = [tf.convert_to_tensor(gradient) for gradient in grads]
            optimizer.apply_gradients(zip(grads, variables, strict=True))
    ours.finalize()
    for a, b in zip(*tables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_one_variable_of_any_rank_and_dtype():
    for dtype, tolerance in (("float64", 1e-12), ("float16", 1e-2), ("bfloat16", 5e-2)):
        for shape in ([7], [7, 3], [7, 2, 3]):
            values = tf.ones([2, *shape[1:]], dtype)
            variable = tf.Variable(tf.ones(shape, dtype))
            optimizer = optimizers.Adagrad(0.5, initial_accumulator_value=0.0)
            optimizer.build([variable])
            optimizer.apply_gradients([(tf.IndexedSlices(values, [2, 5], shape), variable)])
            expected = np.ones(shape)
            expected[[2, 5]] = 0.5
            np.testing.assert_allclose(tf.cast(variable, tf.float64), expected, atol=tolerance)


def test_reading_the_whole_table_makes_no_copy_of_it():
    optimizer = optimizers.SGD(0.1)
    table = tf.Variable(tf.ones([ROWS, DIM]))
    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM]), table)])
    held = table.read_value()
    again = table.read_value()
    address = held.numpy().__array_interface__["data"][0]
    assert again.numpy().__array_interface__["data"][0] == address
    # Who holds what was read keeps it.
    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM]), table)])
    np.testing.assert_allclose(held[3], 0.9)
    np.testing.assert_allclose(table[3], 0.8)


def test_in_a_function_and_with_unknown_sizes():
    optimizer = optimizers.Adam(0.1, lazy=False)
    twin = keras.optimizers.Adam(0.1)
    table, other = tf.Variable(start("Adam")), tf.Variable(start("Adam"))
    optimizer.build([table])
    twin.build([other])

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, DIM], tf.float32)]
    )
    def step(ids, values):
        optimizer.apply_pending(table, ids)
        slices = tf.IndexedSlices(values, ids, tf.constant([ROWS, DIM]))
        optimizer.apply_gradients([(slices, table)])

    for slices in steps(3):
        step(tf.cast(slices.indices, tf.int64), slices.values)
        twin.apply_gradients([(tf.convert_to_tensor(slices), other)])
    optimizer.finalize([table])
    np.testing.assert_allclose(table, other, rtol=1e-5, atol=1e-5)


def test_loss_scaling_keeps_slices_sparse_and_skips_what_is_not_finite():
    inner = optimizers.SGD(0.1)
    optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    table = tf.Variable(tf.ones([ROWS, DIM]))
    optimizer.build([table])
    huge = tf.TensorShape([10**12, DIM])  # would not fit into memory if it were made dense
    slices = tf.IndexedSlices(4.0 * tf.ones([1, DIM]), [3], tf.constant(huge, tf.int64))
    optimizer.apply_gradients([(slices, table)])
    np.testing.assert_allclose(table[3], 0.9, rtol=1e-6)
    bad = tf.IndexedSlices(tf.fill([1, DIM], np.inf), [3], tf.constant(huge, tf.int64))
    optimizer.apply_gradients([(bad, table)])
    np.testing.assert_allclose(table[3], 0.9, rtol=1e-6)
    assert optimizer.dynamic_scale.numpy() == 2.0


@pytest.mark.parametrize("case", ["momentum", "adam", "adamw", "averages"])
def test_a_checkpoint_resumes_with_the_same_bits(case, tmp_path):
    name, arguments = PENDING[case]

    def fresh():
        optimizer = getattr(optimizers, name)(0.1, **arguments, lazy=False)
        table = tf.Variable(start(name))
        optimizer.build([table])
        return optimizer, table, tf.train.Checkpoint(optimizer=optimizer, table=table)

    def train(optimizer, table, part):
        for slices in list(steps(4))[part]:
            optimizer.apply_pending(table, slices.indices)
            optimizer.apply_gradients([(slices, table)])

    optimizer, table, checkpoint = fresh()
    train(optimizer, table, slice(0, 6))
    path = checkpoint.write(str(tmp_path / "half"))
    train(optimizer, table, slice(6, 12))
    optimizer.finalize()
    resumed, other, checkpoint = fresh()
    checkpoint.read(path).assert_consumed()
    train(resumed, other, slice(6, 12))
    resumed.finalize()
    np.testing.assert_array_equal(table, other)


@pytest.mark.parametrize("name", NAMES)
def test_configuration(name):
    optimizer = getattr(optimizers, name)(0.25, lazy=False, clipnorm=1.0)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert type(again) is type(optimizer)
    assert again.lazy is False and again.clipnorm == 1.0
    assert float(again.learning_rate) == 0.25


def test_a_variable_without_a_gradient_keeps_its_average():
    optimizer = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    table, other = tf.Variable(tf.ones([4, 2])), tf.Variable([7.0, 8.0])
    optimizer.build([table, other])
    for _ in range(3):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply_gradients([(tf.ones([4, 2]), table), (None, other)])
    optimizer.finalize_variable_values([table, other])
    np.testing.assert_allclose(other, [7.0, 8.0])
    np.testing.assert_allclose(table[0], 0.25 * 0.9 + 0.25 * 0.8 + 0.5 * 0.7, rtol=1e-6)


def test_excluded_from_weight_decay():
    optimizer = optimizers.SGD(0.1, weight_decay=0.5, lazy=True)
    table, other = tf.Variable(tf.ones([4, 2])), tf.Variable(tf.ones([4, 2]))
    optimizer.exclude_from_weight_decay(var_list=[other])
    optimizer.build([table, other])
    slices = tf.IndexedSlices(tf.zeros([1, 2]), [1], [4, 2])
    optimizer.apply_gradients([(slices, table), (slices, other)])
    np.testing.assert_allclose(table[:, 0], [1, 0.95, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(other[:, 0], [1, 1, 1, 1])


def test_a_deleted_optimizer_has_no_pending_updates():
    table = tf.Variable(tf.ones([4, 2]))
    optimizer = optimizers.Adam(0.1, lazy=False)
    optimizer.build([table])
    del optimizer
    gc.collect()
    loss = fastw2v.negative_sampling_loss(table, tf.Variable(tf.ones([4, 2])), [1], [2], 1)
    assert loss.shape == [1]


def test_bad_arguments():
    with pytest.raises(ValueError, match="lazy = 1 is not True or False"):
        optimizers.Adam(lazy=1)
    with pytest.raises(ValueError, match="not recognized"):
        optimizers.Adam(laziness=True)
    with pytest.raises(ValueError, match=r"initial_accumulator_value = -1 is not in \[0, inf\)"):
        optimizers.RowwiseAdagrad(initial_accumulator_value=-1)
    optimizer, table = optimizers.SGD(0.1), tf.Variable(tf.ones([4, 2]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"rows\[0\] = 4 is not in \[0, 4\)"):
        optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [4], [4, 2]), table)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="values has 3 numbers in a row"):
        optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 3]), [1], [4, 3]), table)])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"values\[0,1\] = -?nan is not finite"
    ):
        optimizer.apply_gradients([(tf.IndexedSlices([[1.0, np.nan]], [1], [4, 2]), table)])
    np.testing.assert_array_equal(table, np.ones((4, 2)))


def test_slots_of_another_shape_are_refused():
    optimizer, table = optimizers.Adagrad(0.1), tf.Variable(tf.ones([4, 2]))
    optimizer.build([table])
    optimizer._accumulators[0] = keras.Variable(tf.ones([3, 2]))
    slices = tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="6 elements, expected float and 8"):
        optimizer.apply_gradients([(slices, table)])
    np.testing.assert_array_equal(table, np.ones((4, 2)))


def test_a_variable_that_two_optimizers_share():
    table = tf.Variable(start("Adam"))
    first, second = (optimizers.Adam(0.1, lazy=False) for _ in range(2))
    first.build([table])
    slices = list(steps(6, count=3))
    for each in slices[:2]:
        first.apply_pending(table, each.indices)
        first.apply_gradients([(each, table)])
    twin = keras.optimizers.Adam(0.1)
    other = tf.Variable(start("Adam"))
    for each in slices[:2]:
        twin.apply_gradients([(tf.convert_to_tensor(each), other)])
    second.build([table])  # applies the pending updates of the first
    np.testing.assert_allclose(table, other, rtol=1e-5, atol=1e-5)
    before = table.numpy()
    with pytest.raises(ValueError, match="was handed over from the optimizer 'adam"):
        first.apply_gradients([(slices[2], table)])
    np.testing.assert_array_equal(table, before)
    second.apply_gradients([(slices[2], table)])


# ---- XLA -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_under_xla(name, lazy):
    results = []
    for jit_compile in (False, True):
        optimizer, table = getattr(optimizers, name)(0.1, lazy=lazy), tf.Variable(start(name))
        optimizer.build([table])

        @tf.function(jit_compile=jit_compile)
        def step(ids, values, optimizer=optimizer, table=table):
            slices = tf.IndexedSlices(values, ids, tf.constant([ROWS, DIM]))
            optimizer.apply_gradients([(slices, table)])

        for slices in steps(5, count=3):
            optimizer.apply_pending(table, slices.indices)
            step(slices.indices, slices.values)
        optimizer.finalize()
        results.append(table.numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_xla_refuses_what_it_cannot_do():
    optimizer, table = optimizers.SGD(0.1, use_ema=True), tf.Variable(start("SGD"))
    optimizer.build([table])

    @tf.function(jit_compile=True)
    def step():
        optimizer.apply_gradients([(tf.ones([ROWS, DIM]), table)])

    with pytest.raises(ValueError, match="use_ema = True does not work under jit_compile=True"):
        step()


def test_xla_makes_nothing_up():
    """A compiled step updates all rows. One with pending updates of steps before shows it."""
    optimizer, table = optimizers.Adam(0.1), tf.Variable(start("Adam"))
    optimizer.build([table])

    @tf.function(jit_compile=True)
    def step():
        optimizer.apply_gradients([(tf.ones([ROWS, DIM]), table)])

    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM]), table)])
    optimizer.finalize()
    step()
    assert np.all(np.isfinite(table))
    optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, DIM]), [3], [ROWS, DIM]), table)])
    step()
    assert np.isfinite(table[3, 0]) and np.isnan(table[7, 0])  # of which one was pending


# ---- Without pending updates ---------------------------------------------------------------------


def test_updates_are_pending_by_default_but_none_before_the_first_step():
    optimizer, table = optimizers.Adam(0.1), tf.Variable(tf.ones([4, 2]))
    assert optimizer.lazy is False
    optimizer.apply_pending(table, [1])
    np.testing.assert_array_equal(table, np.ones((4, 2)))
    optimizer.build([table])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply_pending(tf.Variable(tf.ones([4, 2])), [1])


@pytest.mark.parametrize("where", ["table", "columns"])
def test_a_constraint_holds_for_all_rows(where):
    constraint = keras.constraints.UnitNorm(axis=1 if where == "table" else 0)
    results = []
    for optimizer in (optimizers.Adam(0.1), keras.optimizers.Adam(0.1)):
        table = keras.Variable(start("Adam"))
        table.constraint = constraint
        optimizer.build([table])
        for slices in steps(3, count=4):
            if isinstance(optimizer, optimizers.Adam):
                optimizer.apply_pending(table, slices.indices)
            optimizer.apply_gradients([(tf.convert_to_tensor(slices), table)])
        results.append(table.numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)
    assert not np.any(np.abs(np.linalg.norm(results[0], axis=constraint.axis) - 1) > 1e-3)


OF_ROWS = [
    each
    for each in (getattr(optimizers, name) for name in optimizers.__all__)
    if issubclass(each, RowOptimizer)
]


@pytest.mark.parametrize("each", OF_ROWS)
def test_the_ops_take_every_number_of_a_rule(each):
    assert set(each(0.1)._numbers()) < set(kernels.update_numbers())


@pytest.mark.parametrize("each", OF_ROWS)
def test_the_first_line_says_what_lazy_is_by_default(each):
    default = inspect.signature(each).parameters["lazy"].default
    assert f"``lazy={default}``, the default" in each.__doc__.splitlines()[0]


def test_keras_knows_the_class():
    optimizer = optimizers.Adam(0.25, lazy=True)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is optimizers.Adam and again.lazy
