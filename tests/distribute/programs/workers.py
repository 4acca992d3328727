"""One of two workers: prints what the test compares with the other's."""

from __future__ import annotations

import os
import sys

os.environ["TF_CONFIG"] = sys.argv[1]

import tensorflow as tf  # noqa: E402

strategy = tf.distribute.MultiWorkerMirroredStrategy()

import distribute.programs.steps as steps  # noqa: E402
import numpy as np  # noqa: E402

import fastw2v  # noqa: E402

for name in ("Adam", "Adagrad"):
    make = steps.OPTIMIZERS[name]
    got, _ = steps.train(make, strategy)
    steps.assert_same(got, steps.train(make)[0], name)
    print(name, steps.digest(got))

# ---- Keras ---------------------------------------------------------------------------------------


def make():
    return steps.model(steps.OPTIMIZERS["Adam"])


with strategy.scope():
    stock = make()
try:
    stock.fit(steps.batches(), verbose=0)
except ValueError as error:
    assert "PerReplica" in str(error), error
else:
    raise AssertionError(
        "Keras trains under MultiWorkerMirroredStrategy by now: enable_fit has to go"
    )
with strategy.scope():
    model = fastw2v.distribute.enable_fit(make())
    assert fastw2v.distribute.enable_fit(model) is model
model.steps_per_execution = 2
try:
    model.fit(steps.batches(), verbose=0)
except ValueError as error:
    assert "steps_per_execution = 2, expected 1" in str(error), error
else:
    raise AssertionError("steps_per_execution = 2 was not refused")
model.steps_per_execution = 1
history = model.fit(steps.batches(), epochs=2, shuffle=False, verbose=0)
tested = model.evaluate(steps.batches(), verbose=0)
alone = make()
expected = alone.fit(steps.batches(), epochs=2, shuffle=False, verbose=0)
np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-6)
np.testing.assert_allclose(tested, alone.evaluate(steps.batches(), verbose=0), rtol=1e-6)
steps.assert_same(steps.weights_of(model), steps.weights_of(alone), "fit")
print("fit", steps.digest(steps.weights_of(model)))
