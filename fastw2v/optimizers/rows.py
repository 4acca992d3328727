"""What the optimizers of this library have in common: updates of rows, and pending updates."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from fastw2v import _kernels
from fastw2v._core import tables, xla
from fastw2v._core.keras_at_hand import check_keras
from fastw2v._core.library import ops as _ops
from fastw2v.optimizers import replicas
from fastw2v.optimizers.variables import GrowingVariable, grows, records_of

# The numbers of an update that stay the same from step to step, as csrc/core has them.
_NUMBERS = _kernels.update_numbers()
# A row can have so many pending updates: each step applies those of one part in this many of a
# table.
_LONGEST_HISTORY = 16384


# Whether gradients are of the loss itself by now; each replica is a thread, with its own.
_is_scaled_back: ContextVar[bool] = ContextVar("_is_scaled_back", default=False)

# The optimizer of Keras that a class also derives from: its members are used here.
_DenseOptimizer: Any = object


class RowOptimizer(_DenseOptimizer):
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
        own = inspect.Parameter("lazy", inspect.Parameter.KEYWORD_ONLY, default=False)
        parameters.pop("args", None)
        listed = [*parameters.values(), own, *([others] if others else [])]
        cls.__signature__ = inspect.Signature(listed)

    def __init__(self, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        check_keras()
        if not isinstance(lazy, bool):
            raise ValueError(f"lazy = {lazy!r} is not True or False")
        super().__init__(*args, **kwargs)
        self.lazy = lazy
        self._is_finalized = False  # within `finalized`
        self._any_grows = False  # whether one of the variables is a table that grows

    def _rule(self) -> str:
        raise NotImplementedError

    def _slots(self, index: int) -> list[Any]:
        """The slots of variable ``index``, in the order of the rule."""
        raise NotImplementedError

    def _numbers(self) -> dict[str, float]:
        """The hyperparameters that the rule names."""
        raise NotImplementedError

    def _has_memory(self) -> bool:
        """Whether the dense optimizer changes rows whose gradient is zero."""
        return bool(self.weight_decay)

    # ---- Keras' side -----------------------------------------------------------------------------

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the slots of ``variables``. With ``lazy=False``, before a step is traced."""
        if self.built:
            return
        if any(map(tables.is_sharded, variables)):
            self._check_sharded()
        self._any_grows = any(map(grows, variables))
        if self._any_grows:
            self._check_growing()
        super().build(variables)
        replicas.make_group(self._distribution_strategy)
        # Checkpoints have what is in a list when it becomes an attribute.
        kept = variables if self._keeps_history() else []
        self._histories = [self._new_history(variable) for variable in kept]
        self._births = [self._new_births(variable) for variable in variables]
        for variable in variables if self._leaves_pending() else []:
            tables.set_owner(variable, self)

    def _new_births(self, variable: Any) -> list[keras.Variable]:
        """Of a table that grows: which births of its rows the slots have followed."""
        if not grows(variable):
            return []
        return [self._add_for_rows(variable, "zeros", "int64", "births")]

    def _new_history(self, variable: Any) -> list[keras.Variable]:
        if grows(variable):
            history = [_LONGEST_HISTORY + 1, _kernels.HISTORY_COLUMNS]
            return [
                self._add_for_rows(variable, "zeros", "int64", "row_updates"),
                self.add_variable(shape=history, dtype="float64", name="history"),
            ]
        rows = variable.shape[0] if len(variable.shape) else 1
        length = min(max(rows, 64), _LONGEST_HISTORY)
        shapes = {
            "row_updates": ("int64", [rows]),
            "history": ("float64", [length + 1, _kernels.HISTORY_COLUMNS]),
        }
        if tables.is_sharded(variable):
            (dtype, shape), (entry, entries) = shapes.values()
            return [
                self._tracked(variable.slot(shape, "zeros", dtype, "row_updates")),
                self._tracked(variable.beside(entries, entry, "history")),
            ]
        with self._distribution_strategy.extended.colocate_vars_with(tables.unwrap(variable)):
            return [
                self.add_variable(shape=shape, dtype=dtype, initializer="zeros", name=name)
                for name, (dtype, shape) in shapes.items()
            ]

    def add_variable_from_reference(
        self, reference_variable: Any, name: str | None = None, initializer: Any = "zeros"
    ) -> Any:
        """As Keras' own; what is kept of a sharded table is sharded, too, and what is kept of one
        that grows, grows."""
        table = reference_variable
        if grows(table):
            shape = [1, *table.shape[1:]]
            return self._growing_slot(table, shape, initializer, table.dtype, name or "var")
        if not tables.is_sharded(table):
            return super().add_variable_from_reference(table, name, initializer)
        path = getattr(table, "path", table.name).replace("/", "_")
        name = f"{path}_{name or 'var'}"
        return self._tracked(table.slot(table.shape, initializer, table.dtype, name))

    def _tracked(self, slot: Any) -> Any:
        """What is kept of a Keras variable is saved with the optimizer."""
        if isinstance(slot, keras.Variable):
            self._track_variable(slot)
        return slot

    def _add_for_rows(self, variable: Any, initializer: Any, dtype: Any, name: str) -> Any:
        """A number for each row of a variable."""
        shape = variable.shape[:1]
        if grows(variable):
            return self._growing_slot(variable, [1], initializer, dtype, name)
        if tables.is_sharded(variable):
            slot = variable.slot(shape, initializer, dtype, f"{variable.name}_{name}")
            return self._tracked(slot)
        return self.add_variable(shape=shape, dtype=dtype, initializer=initializer, name=name)

    def _growing_slot(
        self, variable: Any, shape: Any, initializer: Any, dtype: Any, name: str
    ) -> GrowingVariable:
        initializer = keras.initializers.get(initializer)
        with tf.init_scope(), keras.name_scope(self.name, caller=self):
            slot = GrowingVariable(
                initializer,
                shape,
                dtype,
                f"{getattr(variable, 'path', variable.name).replace('/', '_')}_{name}",
                fill=float(initializer([], dtype="float32")),
            )
        self._track_variable(slot)
        return slot

    def _renew(self, variable: Any, rows: tf.Tensor | None) -> tf.Tensor | None:
        """What is kept of a table that grows follows it: it gets as many rows, and those of
        ``rows`` (None: all) that were given to another id begin anew, without pending updates.

        Returns:
            Rows whose pending updates have to be applied, as the parts of the table in which that
            is done step by step are others now. None of a table that does not grow.
        """
        records = records_of(variable) if self._any_grows else None
        if records is None:
            return None
        index = self._get_variable_index(variable)
        slots = self._slots(index)
        history = self._histories[index] if self._leaves_pending() else []
        if not slots and not history:
            return None
        return _ops.fastw2v_renew_rows(
            records=records.value.handle,
            births=self._births[index][0].value.handle,
            slots=[slot.value.handle for slot in slots],
            history=[each.value.handle for each in history],
            fills=[slot.fill for slot in slots],
            rows=[] if rows is None else [rows],
        )

    def _overwrite_variable_with_gradient(self, variable: Any) -> bool:
        # By this question a table finds out that an optimizer is none of this library.
        return not self._is_ours(variable) and super()._overwrite_variable_with_gradient(variable)

    def _is_ours(self, variable: Any) -> bool:
        """Whether Keras does not know what kind of variable it is."""
        return tables.is_sharded(variable) or (self._any_grows and grows(variable))

    def _check_growing(self) -> None:
        """A ValueError for what keeps more of each row than its slots."""
        for name in ("use_ema", "gradient_accumulation_steps"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)} does not work for tables that grow: leave it "
                    "off"
                )

    def _check_sharded(self) -> None:
        """A ValueError for what is more than an update of each part by its gradient."""
        for name in (
            "clipnorm",
            "global_clipnorm",
            "gradient_accumulation_steps",
            "ema_overwrite_frequency",
        ):
            if getattr(self, name):
                raise ValueError(
                    f"{name} = {getattr(self, name)} does not work for sharded tables: leave it off"
                )

    def _averages(self) -> bool:
        """Whether the updates keep the moving averages; with accumulated gradients Keras does."""
        return bool(self.use_ema and not self.gradient_accumulation_steps)

    @property
    def _model_variables_moving_average(self) -> list[Any]:
        """The averages as Keras and its callbacks read them: none of their updates is pending."""
        if tf.executing_eagerly() and self.built and self._averages():
            self.finalize()
        return self._kept_averages

    @_model_variables_moving_average.setter
    def _model_variables_moving_average(self, averages: list[Any]) -> None:
        self._kept_averages = averages

    def _leaves_pending(self) -> bool:
        """Whether a step leaves updates pending for rows without a gradient."""
        return not self.lazy and self._has_memory()

    def _keeps_history(self) -> bool:
        return self._leaves_pending() or self._averages()

    def get_config(self) -> dict[str, Any]:
        """As Keras' own, and ``lazy``."""
        return {**super().get_config(), "lazy": self.lazy}

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Updates the variables by their gradients, as Keras' own does."""
        factor = self.loss_scale_factor
        if factor is not None:
            grads = [None if g is None else _multiplied(g, 1.0 / factor) for g in grads]
        token = _is_scaled_back.set(True)
        try:
            super().apply(grads, trainable_variables)
        finally:
            _is_scaled_back.reset(token)

    @property
    def loss_scale_factor(self) -> float | None:
        """As Keras has it, which divides tensors by it, not slices: to `apply` there it is None."""
        return None if _is_scaled_back.get() else self._loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        self._loss_scale_factor = factor

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
        pairs = list(zip(grads, trainable_variables, strict=True))
        for gradient, variable in pairs:
            if tables.is_sharded(variable):
                self._update_sharded(gradient, tables.unwrap(variable), learning_rate)
        pairs = [pair for pair in pairs if not tables.is_sharded(pair[1])]
        if not pairs:
            return
        grads, trainable_variables = zip(*pairs, strict=True)
        decayed = [
            variable
            for gradient, variable in zip(grads, trainable_variables, strict=True)
            if not self._by_rows(gradient, variable)
            and not (self.lazy and isinstance(gradient, tf.IndexedSlices))
        ]
        super()._apply_weight_decay(decayed)
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _update_sharded(self, gradient: Any, table: Any, learning_rate: Any) -> None:
        """Each replica updates its part, by what all groups that have a copy give."""
        if gradient is None:
            return
        if table.group.across.size > 1:
            gradient = replicas.total(table.group.across, gradient)
        self.update_step(gradient, table, learning_rate)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        group = replicas.group_in_loop()
        if group is None:
            return super()._all_reduce_sum_gradients(grads_and_vars)
        return [
            (replicas.total(group, gradient), variable) for gradient, variable in grads_and_vars
        ]

    def _by_rows(self, gradient: Any, variable: Any) -> bool:
        """Whether our op makes an update, rather than Keras: the history counts all of them."""
        if xla.compiles():
            if self._averages():
                raise ValueError(
                    "use_ema = True does not work under jit_compile=True: it updates rows by an op "
                    "that XLA cannot compile. Set jit_compile=False, or leave the option off"
                )
            return False
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        return is_sparse or self._keeps_history() or self._is_ours(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable by its gradient."""
        if not self._by_rows(gradient, variable):
            self._update_densely(gradient, variable, learning_rate)
            return
        if not isinstance(gradient, tf.IndexedSlices):
            gradient = tf.cast(gradient, variable.dtype)
            if variable.shape.rank == 0:
                gradient = tf.reshape(gradient, [1])
            rows = tf.range(tf.shape(gradient, tf.int64)[0])
            gradient = tf.IndexedSlices(gradient, rows)
        self._check_owner(variable)
        inputs = self._update_inputs(variable, learning_rate)
        rows = tf.cast(tf.reshape(gradient.indices, [-1]), tf.int64)
        parted = self._renew(variable, rows)
        if parted is not None and self._leaves_pending():
            _ops.fastw2v_apply_pending(**inputs, rows=[parted], T=variable.dtype)
        if self._leaves_pending() and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            # The gradient holds the rows of all replicas, and each replica has read its own.
            _ops.fastw2v_apply_pending(**inputs, rows=[rows], T=variable.dtype)
        values = tf.cast(gradient.values, variable.dtype)
        _ops.fastw2v_sparse_update(**inputs, rows=rows, values=values)

    def _update_densely(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        by_row = isinstance(gradient, tf.IndexedSlices) and self._has_memory() and self.lazy
        gradient = tf.convert_to_tensor(gradient)
        if self._leaves_pending():
            gradient = self._nan_where_pending(gradient, variable)
        if not by_row:
            self._dense_step(gradient, variable, learning_rate)
            return
        slots = self._slots(self._get_variable_index(variable))
        kept = [(state, tf.identity(state)) for state in (variable, *(s.value for s in slots))]
        super()._apply_weight_decay([variable])
        self._dense_step(gradient, variable, learning_rate)
        # Where XLA compiles, slices are filled up with rows whose gradient is zero.
        axes = list(range(1, gradient.shape.rank))
        met = tf.reduce_any(gradient != 0, axis=axes, keepdims=True)
        for state, before in kept:
            state.assign(tf.where(met, state, before))

    def _nan_where_pending(self, gradient: tf.Tensor, variable: Any) -> tf.Tensor:
        """For a step that updates all rows, where XLA compiles: the history starts anew. Pending
        updates can neither be applied nor refused there: such a row gets a gradient of NaN."""
        row_updates, history = self._histories[self._get_variable_index(variable)]
        is_pending = row_updates != tf.cast(history[0, 0], tf.int64)
        if variable.shape.rank == 0:
            is_pending = is_pending[0]
        else:
            is_pending = tf.reshape(is_pending, [-1, *(1 for _ in gradient.shape[1:])])
        row_updates.assign(tf.zeros_like(row_updates))
        history.assign(tf.zeros_like(history))
        return tf.where(is_pending, tf.cast(math.nan, gradient.dtype), gradient)

    def _dense_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        super().update_step(gradient, variable, learning_rate)

    # ---- Our ops' side ---------------------------------------------------------------------------

    def step_arguments(self, trained: dict[str, tf.Variable]) -> dict[str, Any] | None:
        """What an op knows that makes a loss and the step of its tables; None where a step is
        more than an update of each variable by its gradient, with the same numbers for all.

        Args:
            trained: The variables to train, by the table that each is.
        """
        clips = self.clipnorm or self.global_clipnorm or self.clipvalue
        others = self.gradient_accumulation_steps or self.ema_overwrite_frequency
        excludes = self.weight_decay and (
            getattr(self, "_exclude_from_weight_decay", None)
            or getattr(self, "_exclude_from_weight_decay_pattern", None)
        )
        if clips or others or excludes or self.loss_scale_factor or self._any_grows:
            return None
        arguments, states = self._arguments(list(trained.values()))
        by_table = dict(zip(trained, states, strict=True))
        for name in tables.LossTables._fields:
            arguments[f"train_{name}"] = name in trained
            arguments[f"{name}_state"] = by_table.get(name, [])
        return arguments

    def _arguments(
        self, variables: Sequence[Any], learning_rate: Any = None
    ) -> tuple[dict[str, Any], list[list[tf.Tensor]]]:
        """What our ops know of a step, whatever the variable; and the handles of what belongs
        to each variable, in their order."""
        indices = [self._get_variable_index(variable) for variable in variables]
        states = [list(self._slots(index)) for index in indices]
        numbers, rule = {**_NUMBERS, **self._numbers()}, self._rule()
        averages, pending = self._averages(), self._leaves_pending()
        for index, state in zip(indices, states, strict=True):
            if averages:
                state.append(self._kept_averages[index])
            if pending or averages:
                state.extend(self._histories[index])
        numbers["weight_decay"] = self.weight_decay or 0.0
        numbers["average_momentum"] = self.ema_momentum or 0.0
        rate = self.learning_rate if learning_rate is None else learning_rate
        arguments = {
            "learning_rate": tf.cast(keras.ops.convert_to_tensor(rate), tf.float64),
            "step": tf.cast(keras.ops.convert_to_tensor(self.iterations), tf.int64) + 1,
            "hyperparameters": tf.constant([numbers[name] for name in _NUMBERS], tf.float64),
            "rule": rule,
            "lazy": not pending,
            "average": averages,
            "history": pending or averages,
        }
        return arguments, [[each.value.handle for each in state] for state in states]

    def _update_inputs(self, variable: Any, learning_rate: Any = None) -> dict[str, Any]:
        inputs, (state,) = self._arguments([variable], learning_rate)
        if not self._decays(variable):
            inputs["hyperparameters"] *= [float(name != "weight_decay") for name in _NUMBERS]
        return {"table": variable.handle, "state": state, **inputs}

    def _check_owner(self, variable: tf.Variable) -> None:
        other = tables.owner(variable)
        if self._leaves_pending() and other is not self and other is not None:
            raise ValueError(
                f"the variable '{variable.name}' was handed over from the optimizer '{self.name}' "
                f"to '{other.name}': with lazy = False one optimizer alone can have pending "
                "updates of its rows"
            )

    def _decays(self, variable: Any) -> bool:
        return not self.weight_decay or self._use_weight_decay(variable)

    @tf.autograph.experimental.do_not_convert
    def apply_pending(self, variable: Any, ids: Any = None) -> None:
        """Applies the pending updates of rows, so that they can be read.

        Needed with ``lazy=False`` alone, before rows are read in another way than by this library.
        Before the first step no update is pending, nor within a function that XLA compiles, whose
        steps update all rows.

        Args:
            variable: A variable that the optimizer is built for, or will be.
            ids: Integers of any shape, the rows; those that are no rows are left out. None: all.

        Example:
            >>> import fastw2v
            >>> table = tf.Variable(tf.zeros([10, 2]))
            >>> optimizer = fastw2v.optimizers.Adam(0.1, lazy=False)
            >>> optimizer.build([table])
            >>> for ids in [[1, 2], [3], [1]]:
            ...     optimizer.apply_pending(table, ids)
            ...     with tf.GradientTape() as tape:
            ...         loss = tf.reduce_sum(tf.gather(table, ids))
            ...     _ = optimizer.apply_gradients([(tape.gradient(loss, table), table)])
            >>> optimizer.finalize()
            >>> [round(float(x), 3) for x in table[:4, 0]]
            [0.0, -0.249, -0.219, -0.132]
        """
        if not self.built or not self._keeps_history() or self._is_finalized or xla.compiles():
            return
        variable = tables.unwrap(variable)
        self._check_variables_are_known([variable])
        rows = [] if ids is None else [tf.cast(ids, tf.int64)]
        parted = self._renew(variable, rows[0] if rows else None)
        if rows and parted is not None:
            rows.append(parted)

        def of_one_replica(copy: tf.Variable) -> None:
            _ops.fastw2v_apply_pending(**self._update_inputs(copy), rows=rows, T=copy.dtype)

        tables.update_copies(variable, of_one_replica)

    @tf.autograph.experimental.do_not_convert
    def finalize(self, variables: Sequence[Any] | None = None) -> None:
        """Applies all pending updates of ``variables``, by default of all."""
        if self.built:
            for variable in self._trainable_variables if variables is None else variables:
                self.apply_pending(variable)

    @contextlib.contextmanager
    def finalized(self) -> Iterator[None]:
        """Applies all pending updates; functions that are traced within it do not ask for any.

        A function that reads rows asks an optimizer with ``lazy=False`` to apply their pending
        updates, so it holds the optimizer's state, which a SavedModel does not. Export within this
        context; functions that were traced before it keep asking.

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
        self._is_finalized = True
        try:
            yield
        finally:
            self._is_finalized = False

    def save_own_variables(self, store: Any) -> None:
        """As Keras' own, after the pending updates of the layers of `fastw2v.keras`.

        These layers are saved without pending updates, before or after the optimizer. Other
        variables are saved as they are, and their updates stay pending.

        Raises:
            ValueError: The optimizer is built for a sharded table that is not a layer's.
        """
        for variable in self._trainable_variables if self.built else []:
            if tables.is_sharded(variable) and not isinstance(variable, keras.Variable):
                raise ValueError(
                    f"Keras does not save what {type(self).__name__} keeps of {variable.name}, "
                    "which is sharded: write it with fastw2v.distribute.Checkpoint, and the model, "
                    "where need be, with include_optimizer=False"
                )
        if self.built:
            self.finalize(
                [v for v in self._trainable_variables if tables.is_saved_without_pending(v)]
            )
        super().save_own_variables(store)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """As Keras' own, which ``fit`` calls at its end; pending updates are applied first."""
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
        if not any(map(tables.is_sharded, trainable_variables)):
            super()._overwrite_model_variables_with_average_value(trainable_variables)
            return
        for variable in map(tables.unwrap, trainable_variables):
            average = tables.unwrap(self._kept_averages[self._get_variable_index(variable)])
            if tables.is_sharded(variable):
                variable.update_all(
                    lambda table, kept=average: table.variable.assign(kept.variable)
                )
            else:
                strategy = self._distribution_strategy.extended
                strategy.update(variable, lambda copy, kept: copy.assign(kept), args=(average,))

    def _backend_apply_gradients(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> None:
        super()._backend_apply_gradients(grads, trainable_variables)
        if self._leaves_pending():
            # Keras applies a constraint to all rows after every update: they have to be there.
            for variable in trainable_variables:
                if getattr(variable, "constraint", None) is not None:
                    self.apply_pending(variable)
        if not self._averages():
            return
        updated = {self._var_key(variable) for variable in trainable_variables}
        for variable in self._trainable_variables:
            if self._var_key(variable) not in updated:
                self._average_alone(tables.unwrap(variable))

    def _average_alone(self, variable: tf.Variable) -> None:
        """A step of the moving average of a variable that got no gradient."""
        if self._leaves_pending():
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
