"""What the optimizers of this library have in common: updates of rows, and what rows owe."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from fastw2v import _tables, xla
from fastw2v._library import ops as _ops

# The numbers of an update that stay the same from step to step, in the order of
# csrc/tensorflow/optimizer_call.h.
_NUMBERS = {
    "weight_decay": 0.0,
    "momentum": 0.0,
    "beta_1": 0.0,
    "beta_2": 0.0,
    "epsilon": 0.0,
    "learning_rate_power": -0.5,
    "l1": 0.0,
    "l2": 0.0,
    "l2_shrinkage": 0.0,
    "beta": 0.0,
    "average_momentum": 0.0,
}
_CLOCK_COLUMNS = 4  # RowClock::kColumns
_LONGEST_CLOCK = 16384  # every update brings one part in this many of a table up to date


class RowOptimizer:
    """Stands before an optimizer of Keras and updates the rows of tables in its place.

    A subclass says by `_rule`, `_slots` and `_numbers` which update of csrc/core/optimizer.h it is.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What Keras' class takes, and `lazy`.
        dense = next((base for base in cls.__mro__ if not issubclass(base, RowOptimizer)), object)
        parameters = dict(inspect.signature(dense.__init__).parameters)
        parameters.pop("self", None)
        others = parameters.pop("kwargs", None)
        own = inspect.Parameter("lazy", inspect.Parameter.KEYWORD_ONLY, default=True)
        parameters.pop("args", None)
        listed = [*parameters.values(), own, *([others] if others else [])]
        cls.__signature__ = inspect.Signature(listed)

    def __init__(self, *args: Any, lazy: bool = True, **kwargs: Any) -> None:
        if not isinstance(lazy, bool):
            raise ValueError(f"lazy = {lazy!r} is not True or False")
        super().__init__(*args, **kwargs)
        self.lazy = lazy
        self._stands_still = False  # within `finalized`

    def _rule(self) -> str:
        raise NotImplementedError

    def _slots(self, index: int) -> list[Any]:
        """The slots of variable ``index``, in the order of the rule."""
        raise NotImplementedError

    def _numbers(self) -> dict[str, float]:
        """The hyperparameters that the rule names."""
        raise NotImplementedError

    def _has_memory(self) -> bool:
        """Whether the dense optimizer goes on moving rows whose gradient is zero."""
        return bool(self.weight_decay)

    # ---- Keras' side -----------------------------------------------------------------------------

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the slots of ``variables``. With ``lazy=False``, before a step is traced."""
        if self.built:
            return
        super().build(variables)
        self._clocks = []
        for variable in variables if self._has_clock() else []:
            self._clocks.append(self._new_clock(variable))
            if self._owes():
                _tables.set_owner(variable, self)

    def _new_clock(self, variable: Any) -> list[keras.Variable]:
        rows = variable.shape[0] if len(variable.shape) else 1
        length = min(max(rows, 64), _LONGEST_CLOCK)
        shapes = {
            "row_updates": ("int64", [rows]),
            "history": ("float64", [length + 1, _CLOCK_COLUMNS]),
        }
        return [
            self.add_variable(shape=shape, dtype=dtype, initializer="zeros", name=name)
            for name, (dtype, shape) in shapes.items()
        ]

    def _averages(self) -> bool:
        """Whether the updates keep the moving averages; with accumulated gradients Keras does."""
        return bool(self.use_ema and not self.gradient_accumulation_steps)

    @property
    def _model_variables_moving_average(self) -> list[Any]:
        """The averages as Keras and its callbacks read them: of all rows up to date."""
        if tf.executing_eagerly() and self.built and self._averages():
            self.finalize()
        return self._kept_averages

    @_model_variables_moving_average.setter
    def _model_variables_moving_average(self, averages: list[Any]) -> None:
        self._kept_averages = averages

    def _owes(self) -> bool:
        """Whether rows that a step does not meet are owed something."""
        return not self.lazy and self._has_memory()

    def _has_clock(self) -> bool:
        return self._owes() or self._averages()

    def get_config(self) -> dict[str, Any]:
        """As Keras' own, and ``lazy``."""
        return {**super().get_config(), "lazy": self.lazy}

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Updates the variables by their gradients, as Keras' own does."""
        factor = self.loss_scale_factor
        if factor is None:
            super().apply(grads, trainable_variables)
            return
        self.loss_scale_factor = None  # Keras divides tensors, not slices
        try:
            scaled = [None if g is None else _multiplied(g, 1.0 / factor) for g in grads]
            super().apply(scaled, trainable_variables)
        finally:
            self.loss_scale_factor = factor

    def _clip_gradients(self, grads: Sequence[Any]) -> Sequence[Any]:
        if not any(isinstance(gradient, tf.IndexedSlices) for gradient in grads):
            return super()._clip_gradients(grads)
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return grads
        # The norm of a gradient is that of its sums, not of their terms.
        grads = [_summed(g) if isinstance(g, tf.IndexedSlices) else g for g in grads]
        if self.global_clipnorm and self.global_clipnorm > 0:
            return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]
        if self.clipnorm and self.clipnorm > 0:
            return [None if g is None else tf.clip_by_norm(g, self.clipnorm) for g in grads]
        value = self.clipvalue
        return [None if g is None else tf.clip_by_value(g, -value, value) for g in grads]

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        """Left to `_backend_update_step`, which knows which gradients are sparse."""

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        decayed = [
            variable
            for gradient, variable in zip(grads, trainable_variables, strict=True)
            if not self._by_rows(gradient)
        ]
        super()._apply_weight_decay(decayed)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _by_rows(self, gradient: Any) -> bool:
        """Whether our op makes an update, rather than Keras: a clock counts all of them."""
        if xla.compiles():
            if self._has_clock():
                what = "lazy = False" if self._owes() else "use_ema = True"
                raise ValueError(
                    f"{what} does not work under jit_compile=True: it updates rows by an op that "
                    "XLA cannot compile. Set jit_compile=False, or leave the option off"
                )
            return False
        return isinstance(gradient, tf.IndexedSlices) or self._has_clock()

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable by its gradient."""
        if not self._by_rows(gradient):
            self._update_densely(gradient, variable, learning_rate)
            return
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.cast(gradient, variable.dtype)
            if variable.shape.rank == 0:
                gradient = tf.reshape(gradient, [1])
            rows = tf.range(tf.shape(gradient, tf.int64)[0])
            gradient = tf.IndexedSlices(gradient, rows)
        self._check_owner(variable)
        _ops.fastw2v_sparse_update(
            **self._update_inputs(variable, learning_rate),
            rows=tf.cast(tf.reshape(gradient.indices, [-1]), tf.int64),
            values=tf.cast(gradient.values, variable.dtype),
        )

    def _update_densely(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            self._dense_step(gradient, variable, learning_rate)
            return
        dense = tf.convert_to_tensor(gradient)
        if not self._has_memory():
            self._dense_step(dense, variable, learning_rate)
            return
        slots = self._slots(self._get_variable_index(variable))
        kept = [(state, tf.identity(state)) for state in (variable, *(s.value for s in slots))]
        super()._apply_weight_decay([variable])
        self._dense_step(dense, variable, learning_rate)
        # Where XLA compiles, slices are filled up with rows whose gradient is zero.
        axes = list(range(1, dense.shape.rank))
        met = tf.reduce_any(dense != 0, axis=axes, keepdims=True)
        for state, before in kept:
            state.assign(tf.where(met, state, before))

    def _dense_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)

    # ---- Our ops' side ---------------------------------------------------------------------------

    def state(self, variable: Any) -> list[tf.Tensor]:
        """Handles of what belongs to a variable, in the order of our ops."""
        index = self._get_variable_index(variable)
        state = list(self._slots(index))
        if self._averages():
            state.append(self._kept_averages[index])
        if self._has_clock():
            state.extend(self._clocks[index])
        return [each.value.handle for each in state]

    def step_inputs(self, learning_rate: Any = None) -> dict[str, Any]:
        """What our ops are told of a step, whatever the variable."""
        numbers = {**_NUMBERS, **self._numbers()}
        numbers["weight_decay"] = self.weight_decay or 0.0
        numbers["average_momentum"] = self.ema_momentum or 0.0
        rate = self.learning_rate if learning_rate is None else learning_rate
        return {
            "learning_rate": tf.cast(keras.ops.convert_to_tensor(rate), tf.float64),
            "step": tf.cast(keras.ops.convert_to_tensor(self.iterations), tf.int64) + 1,
            "hyperparameters": tf.constant([numbers[name] for name in _NUMBERS], tf.float64),
            "rule": self._rule(),
            "lazy": not self._owes(),
            "average": self._averages(),
            "clock": self._has_clock(),
        }

    def updates_are_plain(self) -> bool:
        """Whether a step is nothing but an update of each variable by its gradient, with the same
        numbers for all, so that one op can make it."""
        clips = self.clipnorm or self.global_clipnorm or self.clipvalue
        others = self.gradient_accumulation_steps or self.ema_overwrite_frequency
        excludes = self.weight_decay and (
            getattr(self, "_exclude_from_weight_decay", None)
            or getattr(self, "_exclude_from_weight_decay_pattern", None)
        )
        return not (clips or others or excludes or self.loss_scale_factor)

    def _update_inputs(self, variable: Any, learning_rate: Any = None) -> dict[str, Any]:
        inputs = self.step_inputs(learning_rate)
        if not self._decays(variable):
            inputs["hyperparameters"] *= [0.0] + [1.0] * (len(_NUMBERS) - 1)
        return {"table": variable.handle, "state": self.state(variable), **inputs}

    def _check_owner(self, variable: tf.Variable) -> None:
        other = _tables.owner(variable)
        if self._owes() and other is not self and other is not None:
            raise ValueError(
                f"the variable '{variable.name}' was handed over from the optimizer '{self.name}' "
                f"to '{other.name}': with lazy = False one optimizer alone can keep account of "
                "what rows are owed"
            )

    def _decays(self, variable: Any) -> bool:
        return not self.weight_decay or self._use_weight_decay(variable)

    @tf.autograph.experimental.do_not_convert
    def catch_up(self, variable: Any, ids: Any = None) -> None:
        """Makes the updates that rows have missed, so that they can be read.

        Needed with ``lazy=False`` alone, before rows are read in another way than by this library.

        Args:
            variable: A variable that the optimizer was built for.
            ids: Integers of any shape, the rows; those that are no rows are left out. None: all.

        Example:
            >>> import fastw2v
            >>> table = tf.Variable(tf.zeros([10, 2]))
            >>> optimizer = fastw2v.optimizers.Adam(0.1, lazy=False)
            >>> optimizer.build([table])
            >>> for ids in [[1, 2], [3], [1]]:
            ...     optimizer.catch_up(table, ids)
            ...     with tf.GradientTape() as tape:
            ...         loss = tf.reduce_sum(tf.gather(table, ids))
            ...     _ = optimizer.apply_gradients([(tape.gradient(loss, table), table)])
            >>> optimizer.finalize()
            >>> [round(float(x), 3) for x in table[:4, 0]]
            [0.0, -0.249, -0.219, -0.132]
        """
        if not self._has_clock() or self._stands_still:
            return
        variable = _tables.unwrap(variable)
        _ops.fastw2v_catch_up(
            **self._update_inputs(variable),
            rows=[] if ids is None else [tf.cast(ids, tf.int64)],
            T=variable.dtype,
        )

    @tf.autograph.experimental.do_not_convert
    def finalize(self, variables: Sequence[Any] | None = None) -> None:
        """Brings all rows of ``variables``, by default of all, up to date."""
        if self.built:
            for variable in self._trainable_variables if variables is None else variables:
                self.catch_up(variable)

    @contextlib.contextmanager
    def finalized(self) -> Iterator[None]:
        """Within it all rows are up to date, and functions that are traced do not ask for more.

        A function that reads rows asks an optimizer with ``lazy=False`` to make the updates that
        they miss, so it holds the optimizer's state, which a SavedModel does not. Export within
        this context; functions that were traced before it keep asking.

        Example:
            >>> import tempfile
            >>> import fastw2v
            >>> ids, labels = keras.Input([], dtype="int64"), keras.Input([], dtype="int64")
            >>> head = fastw2v.keras.LinearCrossEntropy(100)
            >>> losses = head(fastw2v.keras.Embedding(100, 8)(ids), labels)
            >>> model = keras.Model([ids, labels], losses)
            >>> model.compile(fastw2v.optimizers.Adam(lazy=False))
            >>> history = model.fit([tf.range(64), tf.range(64)], verbose=0)
            >>> with tempfile.TemporaryDirectory() as directory, model.optimizer.finalized():
            ...     model.export(directory, verbose=False)
        """
        self.finalize()
        self._stands_still = True
        try:
            yield
        finally:
            self._stands_still = False

    def save_own_variables(self, store: Any) -> None:
        """As Keras' own, after the updates that the layers of `fastw2v.keras` miss.

        These layers are saved with all rows up to date, before or after the optimizer. Other
        variables are saved as they are, and so is what they are owed.
        """
        if self.built:
            self.finalize([v for v in self._trainable_variables if _tables.is_saved_up_to_date(v)])
        super().save_own_variables(store)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """As Keras' own, which ``fit`` calls at its end; missed updates are made first."""
        self.finalize()
        super().finalize_variable_values(var_list)

    def _update_model_variables_moving_average(self, trainable_variables: Sequence[Any]) -> None:
        if not self._averages():
            super()._update_model_variables_moving_average(trainable_variables)

    def _overwrite_model_variables_with_average_value(
        self, trainable_variables: Sequence[Any]
    ) -> None:
        if self._averages():
            self.finalize()
        super()._overwrite_model_variables_with_average_value(trainable_variables)

    def _backend_apply_gradients(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> None:
        super()._backend_apply_gradients(grads, trainable_variables)
        if not self._averages():
            return
        updated = {self._var_key(variable) for variable in trainable_variables}
        for variable in self._trainable_variables:
            if self._var_key(variable) not in updated:
                self._average_alone(_tables.unwrap(variable))

    def _average_alone(self, variable: tf.Variable) -> None:
        """A step of the moving average of a variable that got no gradient."""
        if self._owes():
            raise ValueError(
                f"the variable '{variable.name}' has no gradient: with lazy = False and use_ema = "
                "True every variable needs one at each step"
            )
        none = tf.zeros([0, *variable.shape[1:]], variable.dtype)
        self.update_step(
            tf.IndexedSlices(none, tf.zeros([0], tf.int64)), variable, self.learning_rate
        )


def _multiplied(gradient: Any, factor: float) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
    return gradient * factor


def _summed(slices: tf.IndexedSlices) -> tf.IndexedSlices:
    """The same gradient with distinct rows."""
    if xla.compiles():
        raise ValueError(
            "clipnorm, global_clipnorm and clipvalue do not work for the gradients of tables under "
            "jit_compile=True; set jit_compile=False, or leave them off"
        )
    indices = tf.cast(tf.reshape(slices.indices, [-1]), tf.int64)
    rows, sums = _ops.fastw2v_sum_rows(rows=indices, values=slices.values)
    return tf.IndexedSlices(sums, rows, slices.dense_shape)


tf.no_gradient("Fastw2v>SumRows")
