"""The optimizers, one class for each: its formula is in csrc/core/optimizer.h."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from fastw2v.optimizers.rows import RowOptimizer


@keras.saving.register_keras_serializable("fastw2v")
class SGD(RowOptimizer, keras.optimizers.SGD):
    """Gradient descent; ``lazy=False``, the default: momentum moves rows without a gradient, too.

    ``w -= learning_rate * g``; with momentum ``m = momentum * m - learning_rate * g; w += m``, and
    with ``nesterov`` ``w += momentum * m - learning_rate * g``.

    Args:
        lazy: By default (False) rows without a gradient move by their momentum, as in the dense
            optimizer. True: they are not updated. See `fastw2v.optimizers`.

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
    """Adagrad; ``lazy=False``, the default: rows without a gradient decay, too, by weight decay.

    Step sizes fall with the squared gradients that a weight has had: ``s += g**2; w -=
    learning_rate * g / sqrt(s + epsilon)``. Equal to the dense optimizer.

    Args:
        lazy: By default (False) rows without a gradient decay, too, where there is weight decay.
            True: they do not. See `fastw2v.optimizers`.

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
        initial = keras.initializers.Constant(self.initial_accumulator_value)
        self._accumulators = [
            self._add_for_rows(variable, initial, variable.dtype, "accumulator")
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
    """`Adagrad` with one accumulator per row; ``lazy=False``, the default, means the same.

    So its slot takes next to no memory. ``s += mean(g**2)`` over the row; ``w -= learning_rate * g
    / sqrt(s + epsilon)``. A biases variable, whose rows are single numbers, gets plain Adagrad.

    Args:
        lazy: By default (False) rows without a gradient decay, too, where there is weight decay.
            True: they do not. See `fastw2v.optimizers`.

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
    """Adam or AMSGrad; ``lazy=False``, the default: rows without a gradient are updated, too.

    For all rows, with ``g`` 0 in those without a gradient at step ``t``::

        m += (g - m) * (1 - beta_1)
        v += (g**2 - v) * (1 - beta_2)
        w -= alpha * m / (sqrt(v) + epsilon)
        alpha = learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t)

    For a row that has ``k`` pending updates, ``m`` becomes ``beta_1**k * m``, ``v`` becomes
    ``beta_2**k * v``, and ``w`` moves by the sum of the ``k`` updates, in closed form: the
    relative error of that move is below 1e-4 where ``beta_1 <= 0.98 * sqrt(beta_2)``; for other
    betas the steps are made one by one. See `fastw2v.optimizers` for what that asks of the reader
    of the rows.

    Args:
        lazy: By default (False) rows without a gradient are updated, before they are next read.
            True: they are not, nor are their ``m`` and ``v``: the "lazy Adam". At the same learning
            rate it trains slower. See `fastw2v.optimizers`.

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
    """AdamW; ``lazy=False``, the default: rows without a gradient are updated and decay, too.

    `Adam` with decoupled weight decay: ``w -= weight_decay * learning_rate * w`` before a step.

    Args:
        lazy: By default (False) rows without a gradient are updated and decay, before they are next
            read. True: they are not, and do not. See `Adam`.

    All other arguments are those of ``keras.optimizers.AdamW``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.AdamW(0.5, weight_decay=0.1)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> optimizer.finalize()
        >>> table[:, 0].numpy().astype(float).round(4).tolist()
        [0.95, 0.45, 0.95, 0.95]

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2.
    """


@keras.saving.register_keras_serializable("fastw2v")
class Ftrl(RowOptimizer, keras.optimizers.Ftrl):
    """FTRL; ``lazy=False``, the default: rows without a gradient are updated, too.

    Follow the regularized leader, as ``keras.optimizers.Ftrl``, whose documentation has the
    formulas. The weights of a row are a function of its slots: a row that has never had a gradient
    becomes 0 at the first step.

    Args:
        lazy: By default (False) rows without a gradient are updated, before they are next read.
            True: they are not; a row that has never had a gradient keeps what it was initialized
            with. See `fastw2v.optimizers`.

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
class Lion(RowOptimizer, keras.optimizers.Lion):
    """Lion; ``lazy=False``, the default: rows without a gradient are updated, too.

    ``w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g)``, then
    ``m = beta_2 * m + (1 - beta_2) * g``, for all rows, with ``g`` 0 in those without a gradient.
    The momentum of such a row keeps its sign, so each of these steps moves its weights by the whole
    learning rate until the momentum underflows, in float32 after some 8,700 steps with
    ``beta_2 = 0.99``. With large tables that is rarely what is wanted: set ``lazy=True``.

    Args:
        lazy: By default (False) rows without a gradient are updated, before they are next read.
            True: they are not, nor is their momentum. See `fastw2v.optimizers`.

    All other arguments are those of ``keras.optimizers.Lion``.

    Example:
        >>> import fastw2v
        >>> table = tf.Variable(tf.ones([4, 2]))
        >>> optimizer = fastw2v.optimizers.Lion(0.25)
        >>> _ = optimizer.apply_gradients([(tf.IndexedSlices(tf.ones([1, 2]), [1], [4, 2]), table)])
        >>> table[:, 0].numpy().tolist()
        [1.0, 0.75, 1.0, 1.0]

    Source: Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, algorithm 2.
    """

    def _rule(self) -> str:
        return "lion"

    def _slots(self, index: int) -> list[Any]:
        return [self._momentums[index]]

    def _numbers(self) -> dict[str, float]:
        return {"beta_1": self.beta_1, "beta_2": self.beta_2}

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
