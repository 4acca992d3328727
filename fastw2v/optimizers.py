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
  refused; on a GPU, where nothing can be refused, the row catches up before that update. `finalize`
  brings whole variables up to date; so does the end of Keras' ``fit``.

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

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fastw2v._row_optimizer import RowOptimizer

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Ftrl",
    "LossScaleOptimizer",
    "RowwiseAdagrad",
]


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
