"""Keras optimizers that touch only the rows of a table that a step meets.

They take the arguments of the Keras optimizers of the same names, and give Keras' results for dense
gradients. For a `tf.IndexedSlices`, which is what the losses of this library and `tf.gather` give
for a table, one op sums repeated rows and updates the rows met, in the variable and in the
optimizer's slots, where they lie. A step then costs what its rows cost, whatever the size of the
table; Keras' own optimizers touch every row, and do not sum repeated ones.

* **Exact**: `SGD` without momentum and `Adagrad` give what Keras gives for the dense gradient. So
  does `Ftrl` for rows that started at zero, at a constant learning rate.
* **Lazy**, the default: with momentum, `Adam`, `AdamW` and weight decay, a row that a step does not
  meet stands still, as in the well-known LazyAdam: neither its weights nor its slots change.
* ``lazy=False`` gives the result of the dense optimizer at the cost of the sparse one. The updates
  that a row has missed are made up, all at once, before it is next read. So rows have to be read
  in a way that tells the optimizer: by the losses of this library, `fastw2v.train_step`, the layers
  of `fastw2v.keras`, or after `catch_up`. An update of a row that was read in another way is
  refused. `finalize` brings whole variables up to date; so does the end of Keras' ``fit``.

  **Saving.** The layers of `fastw2v.keras` are saved with all rows up to date. Variables of
  another kind are saved as they are: call `finalize` before you save them for another use than to
  go on training. Training that goes on from what was saved with the optimizer, by Keras or by
  ``tf.train.Checkpoint``, gives the same bits in either case. A SavedModel is exported within
  ``with optimizer.finalized():``.

What else an optimizer of Keras can do works row by row too: gradient clipping, weight decay,
learning-rate schedules, moving averages (``use_ema``) and loss scaling. Gradient accumulation adds
up dense gradients, as in Keras.

Same bits for any number of threads. Under ``jit_compile=True``, where XLA compiles TensorFlow's own
ops alone, gradients are made dense first: same results, the cost of a dense optimizer, and
``lazy=False`` is refused.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from fastw2v import _tables, xla
from fastw2v._library import ops as _ops

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Ftrl",
    "LossScaleOptimizer",
    "RowwiseAdagrad",
]

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
    """What the optimizers of this module have in common; stands before an optimizer of Keras.

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


@keras.saving.register_keras_serializable("fastw2v")
class SGD(RowOptimizer, keras.optimizers.SGD):
    """Gradient descent, with momentum and Nesterov's momentum.

    ``w -= learning_rate * g``; with momentum ``m = momentum * m - learning_rate * g; w += m``, and
    with ``nesterov`` ``w += momentum * m - learning_rate * g``.

    Args:
        lazy: False: rows that a step does not meet move on by their momentum, as they do in the
            dense optimizer; see `fastw2v.optimizers`. Otherwise they stand still.

    All other arguments are those of ``keras.optimizers.SGD``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.SGD(0.5)
        >>> slices = tf.IndexedSlices(tf.ones([3, 2]), [1, 3, 1], [4, 2])
        >>> _ = optimizer.apply_gradients([(slices, table)])
        >>> table[:, 0].numpy().tolist()
        [1.0, 0.0, 1.0, 0.5]

    Source: Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum
    in deep learning", ICML 2013, section 2, in Keras' form.
    """

    def _rule(self) -> str:
        return "sgd" if not self.momentum else "nesterov" if self.nesterov else "momentum"

    def _slots(self, index: int) -> list[Any]:
        return [self.momentums[index]] if self.momentum else []

    def _numbers(self) -> dict[str, float]:
        return {"momentum": self.momentum}

    def _has_memory(self) -> bool:
        return bool(self.momentum or self.weight_decay)


@keras.saving.register_keras_serializable("fastw2v")
class Adagrad(RowOptimizer, keras.optimizers.Adagrad):
    """Step sizes that fall with the squared gradients a weight has met.

    ``s += g**2; w -= learning_rate * g / sqrt(s + epsilon)``. Equal to the dense optimizer.

    Args:
        lazy: False: weight decay reaches rows that a step does not meet; see `fastw2v.optimizers`.

    All other arguments are those of ``keras.optimizers.Adagrad``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.Adagrad(0.5, initial_accumulator_value=0.0)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().tolist()
        [1.0, 0.5, 1.0, 1.0]

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12, 2011, figure 1, diagonal version.
    """

    def _rule(self) -> str:
        return "adagrad"

    def _slots(self, index: int) -> list[Any]:
        return [self._accumulators[index]]

    def _numbers(self) -> dict[str, float]:
        return {"epsilon": self.epsilon}


class _DenseRowwiseAdagrad(keras.optimizers.Optimizer):
    """Row-wise Adagrad as Keras would write it, for dense gradients."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str = "rowwise_adagrad",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            name=name,
            **kwargs,
        )
        if not initial_accumulator_value >= 0:
            raise ValueError(
                f"initial_accumulator_value = {initial_accumulator_value} is not in [0, inf)"
            )
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def build(self, variables: Sequence[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._accumulators = [
            self.add_variable(
                shape=variable.shape[:1],
                dtype=variable.dtype,
                initializer=keras.initializers.Constant(self.initial_accumulator_value),
                name="accumulator",
            )
            for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate, gradient = (tf.cast(x, variable.dtype) for x in (learning_rate, gradient))
        accumulator = self._accumulators[self._get_variable_index(variable)]
        axes = list(range(1, gradient.shape.rank))
        self.assign_add(accumulator, tf.reduce_mean(tf.square(gradient), axes))
        root = tf.sqrt(accumulator.value + self.epsilon)
        root = tf.reshape(root, [*accumulator.shape, *(1 for _ in axes)])
        self.assign_sub(variable, rate * gradient / root)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
        }


@keras.saving.register_keras_serializable("fastw2v")
class RowwiseAdagrad(RowOptimizer, _DenseRowwiseAdagrad):
    """`Adagrad` with one accumulator for each row, so that its slot takes next to no memory.

    ``s += mean(g**2)`` over the row; ``w -= learning_rate * g / sqrt(s + epsilon)``. A biases
    variable, whose rows are single numbers, gets plain Adagrad.

    Args:
        lazy: False: weight decay reaches rows that a step does not meet; see `fastw2v.optimizers`.

    All other arguments are those of ``keras.optimizers.Adagrad``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.RowwiseAdagrad(0.5, initial_accumulator_value=0.0)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().tolist(), tuple(optimizer.variables[-1].shape)
        ([1.0, 0.5, 1.0, 1.0], (4,))

    Source: Mudigere et al., "Software-hardware co-design for fast and scalable training of deep
    learning recommendation models", ISCA 2022, with epsilon where Keras' Adagrad has it.
    """

    def _rule(self) -> str:
        return "rowwise_adagrad"

    def _slots(self, index: int) -> list[Any]:
        return [self._accumulators[index]]

    def _numbers(self) -> dict[str, float]:
        return {"epsilon": self.epsilon}


class _AdamRows(RowOptimizer):
    """What `Adam` and `AdamW` have in common."""

    def _rule(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"

    def _slots(self, index: int) -> list[Any]:
        slots = [self._momentums[index], self._velocities[index]]
        return [*slots, self._velocity_hats[index]] if self.amsgrad else slots

    def _numbers(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}

    def _has_memory(self) -> bool:
        return True


@keras.saving.register_keras_serializable("fastw2v")
class Adam(_AdamRows, keras.optimizers.Adam):
    """Adam, with AMSGrad as an option.

    For the rows that step ``t`` meets::

        m += (g - m) * (1 - beta_1)
        v += (g**2 - v) * (1 - beta_2)
        w -= alpha * m / (sqrt(v) + epsilon)
        alpha = learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t)

    Other rows stand still, their ``m`` and ``v`` included: the "lazy Adam" that embedding tables
    are commonly trained with. Its results differ from those of Adam on the dense gradient.

    Args:
        lazy: False: the result of Adam on the dense gradient. For a row that was last met ``k``
            steps ago, ``m`` becomes ``beta_1**k * m``, ``v`` becomes ``beta_2**k * v``, and ``w``
            moves by the sum of the ``k`` missed steps, in closed form (relative error of that
            move below 1e-4 where the betas are such that ``beta_1 <= 0.98 * sqrt(beta_2)``; else
            the steps are made one by one). See `fastw2v.optimizers` for what it asks of the reader
            of the rows.

    All other arguments are those of ``keras.optimizers.Adam``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.Adam(0.5)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().round(4).tolist()
        [1.0, 0.5, 1.0, 1.0]

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, end of section
    2; Reddi, Kale and Kumar, "On the convergence of Adam and beyond", ICLR 2018, algorithm 2.
    """


@keras.saving.register_keras_serializable("fastw2v")
class AdamW(_AdamRows, keras.optimizers.AdamW):
    """`Adam` with decoupled weight decay: ``w -= weight_decay * learning_rate * w`` before a step.

    Rows that a step does not meet stand still: they do not decay either.

    Args:
        lazy: False: the result of AdamW on the dense gradient, decay included; see `Adam`.

    All other arguments are those of ``keras.optimizers.AdamW``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.AdamW(0.5, weight_decay=0.1)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().round(4).astype(float).round(4).tolist()
        [1.0, 0.45, 1.0, 1.0]

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """


@keras.saving.register_keras_serializable("fastw2v")
class Ftrl(RowOptimizer, keras.optimizers.Ftrl):
    """Follow the regularized leader.

    As ``keras.optimizers.Ftrl``, whose documentation has the formulas. The weights of a row are a
    function of its slots: Keras sets a row that has never met a gradient to 0 at the first step,
    and here it keeps what it was initialized with. Start from zeros where that matters.

    Args:
        lazy: False: rows follow the dense optimizer, that zero included; see `fastw2v.optimizers`.

    All other arguments are those of ``keras.optimizers.Ftrl``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.zeros([4, 2]))
        >>> optimizer = fastw2v.optimizers.Ftrl(0.5, initial_accumulator_value=0.0)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().tolist()
        [0.0, -0.5, 0.0, 0.0]

    Source: McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013, algorithm 1.
    """

    def _rule(self) -> str:
        return "ftrl"

    def _slots(self, index: int) -> list[Any]:
        return [self._accumulators[index], self._linears[index]]

    def _numbers(self) -> dict[str, float]:
        return {
            "learning_rate_power": self.learning_rate_power,
            "l1": self.l1_regularization_strength,
            "l2": self.l2_regularization_strength,
            "l2_shrinkage": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }

    def _has_memory(self) -> bool:
        return True


@keras.saving.register_keras_serializable("fastw2v")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scaling that leaves `tf.IndexedSlices` what they are.

    Keras' own, with which ``compile`` wraps an optimizer under the policy mixed_float16, makes the
    gradients of tables dense to see whether they are finite. Wrap the optimizer in this one first.

    The arguments are those of ``keras.optimizers.LossScaleOptimizer``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.LossScaleOptimizer(fastw2v.optimizers.SGD(0.5))
        >>> optimizer.build([table])
        >>> scale = optimizer.scale_loss(1.0)
        >>> slices = tf.IndexedSlices(scale * tf.ones([1, 2]), [1], [4, 2])
        >>> _ = optimizer.apply_gradients([(slices, table)])
        >>> table[:, 0].numpy().tolist()
        [1.0, 0.5, 1.0, 1.0]

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.
    """

    def check_finite(self, grads: Sequence[Any]) -> tf.Tensor:
        """Whether all numbers of all gradients are finite."""
        values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in grads]
        return super().check_finite(values)


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
