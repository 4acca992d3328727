"""A plugin of pytest for builds with FASTW2V_CUDA=EMULATED: `pytest -p emulated_ops`.

There the kernels of a GPU take the place of those of the CPU, whose contract differs: the tests of
what only the CPU promises are left out, each with its reason.
"""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_VALUES = "a GPU's kernels look at no value, so they refuse none"

LEFT_OUT: dict[str, str] = {
    "test_bad_ids_are_named": _VALUES,
    "test_bad_values_are_named": _VALUES,
    "test_what_is_not_finite_is_refused_and_changes_nothing": _VALUES,
}


def pytest_configure(config: pytest.Config) -> None:
    import tensorflow as tf

    # Tolerances are those of true float32.
    tf.config.experimental.enable_tensor_float_32_execution(False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        name = getattr(item, "originalname", item.name)
        if "shards" in item.name:
            reason = "on a GPU a table is one tensor or variable"
        elif name in LEFT_OUT:
            reason = LEFT_OUT[name]
        else:
            continue
        item.add_marker(pytest.mark.skip(reason=reason))
