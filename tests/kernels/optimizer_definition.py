"""What the optimizers do to a whole table, written out in NumPy: the formulas of Keras 3."""

from __future__ import annotations

import numpy as np

HISTORY_COLUMNS = 5  # the numbers that are kept of an update

# What each rule is tried with, beside the learning rate.
NUMBERS = {
    "sgd": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.8},
    "adagrad": {"epsilon": 1e-7},
    "rowwise_adagrad": {"epsilon": 1e-7},
    "adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7},
    "amsgrad": {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
    "ftrl": {"l1": 0.01, "l2": 0.1, "beta": 0.2},
    "lion": {"beta_1": 0.9, "beta_2": 0.99},
}
NUM_SLOTS = {"sgd": 0, "adam": 2, "amsgrad": 3, "ftrl": 2}  # others: 1


def initial_slots(rule: str, rows: int, dim: int) -> list[np.ndarray]:
    """Slots before the first step, in float64."""
    start = 0.1 if rule in ("adagrad", "rowwise_adagrad", "ftrl") else 0.0
    shape = (rows,) if rule == "rowwise_adagrad" else (rows, dim)
    slots = [np.zeros(shape) for _ in range(NUM_SLOTS.get(rule, 1))]
    if slots:
        slots[0] += start
    return slots


def step(
    rule: str,
    numbers: dict[str, float],
    weights: np.ndarray,
    slots: list[np.ndarray],
    gradient: np.ndarray,
) -> None:
    """One step on all rows, in place; `numbers` hold learning_rate and step too."""
    rate, t = numbers["learning_rate"], numbers.get("step", 1)
    weights *= 1 - numbers.get("weight_decay", 0) * rate
    if rule == "sgd":
        weights -= rate * gradient
    elif rule in ("momentum", "nesterov"):
        (m,) = slots
        m[...] = numbers["momentum"] * m - rate * gradient
        weights += numbers["momentum"] * m - rate * gradient if rule == "nesterov" else m
    elif rule == "adagrad":
        slots[0] += gradient**2
        weights -= rate * gradient / np.sqrt(slots[0] + numbers["epsilon"])
    elif rule == "rowwise_adagrad":
        slots[0] += np.mean(gradient**2, axis=1)
        weights -= rate * gradient / np.sqrt(slots[0] + numbers["epsilon"])[:, None]
    elif rule in ("adam", "amsgrad"):
        m, v = slots[:2]
        m += (gradient - m) * (1 - numbers["beta_1"])
        v += (gradient**2 - v) * (1 - numbers["beta_2"])
        if rule == "amsgrad":
            v = slots[2][...] = np.maximum(slots[2], v)
        alpha = rate * np.sqrt(1 - numbers["beta_2"] ** t) / (1 - numbers["beta_1"] ** t)
        weights -= alpha * m / (np.sqrt(v) + numbers["epsilon"])
    elif rule == "ftrl":
        total, linear = slots
        power = -numbers.get("learning_rate_power", -0.5)
        new = total + gradient**2
        linear += gradient + 2 * numbers.get("l2_shrinkage", 0) * weights
        linear -= (new**power - total**power) / rate * weights
        l1 = numbers["l1"]
        quadratic = new**power / rate + 2 * numbers["l2"] + numbers["beta"] / rate
        weights[...] = (np.clip(linear, -l1, l1) - linear) / quadratic
        total[...] = new
    elif rule == "lion":
        (m,) = slots
        weights -= rate * np.sign(m + (gradient - m) * (1 - numbers["beta_1"]))
        m += (gradient - m) * (1 - numbers["beta_2"])
    else:
        raise ValueError(rule)
