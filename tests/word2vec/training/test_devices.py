"""Where word vectors are trained. Two logical CPUs stand for a CPU and a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from problems import run_python

from fastw2v.word2vec.training.train_op import noise_table, train_block

TWO_DEVICES = """
import tensorflow as tf

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.set_soft_device_placement(False)
"""


def run(program, *arguments):
    return run_python(TWO_DEVICES + program, *arguments).splitlines()


MODELS = """
import sys
import fastw2v

text = [["red", "green", "blue"], ["one", "two", "three"]] * 50
more = [["red", "blue", "black"]] * 20
small = {"vector_size": 8, "sg": 1, "sample": 0, "epochs": 2, "deterministic": True}
forms = {
    "negative sampling": {},
    "hierarchical softmax": {"hs": 1, "negative": 0},
    "softmax": {"loss": "softmax"},
    "sampled softmax": {"loss": "sampled_softmax", "num_sampled": 4},
}


def trained(path, **options):
    model = fastw2v.Word2Vec(text, **small, **options)
    if not options.get("hs"):
        model.build_vocab(more, update=True)
        model.train(more)
    model.save(path)
    model = fastw2v.Word2Vec.load(path)
    model.train(text, epochs=1)
    return model, model.wv.vectors.tobytes(), model.evaluate(more)


for form, options in forms.items():
    _, *expected = trained(sys.argv[1], **options)
    with tf.device("CPU:1"):
        model, *results = trained(sys.argv[1], **options)
    tables = [model.embeddings, model.weights, model.biases]
    devices = {table.device[-5:] for table in tables if table is not None}
    print(form, *devices, results == expected)
"""


def test_tables_are_where_their_loss_is_trained(tmp_path):
    """Made within a device: where one op takes the text, that op's device comes first."""
    assert run(MODELS, str(tmp_path / "model")) == [
        "negative sampling CPU:0 True",
        "hierarchical softmax CPU:0 True",
        "softmax CPU:1 True",
        "sampled softmax CPU:1 True",
    ]


BLOCKS = """
from fastw2v.word2vec.training.train_op import noise_table, train_block


def table(value, device):
    with tf.device(device):
        return tf.Variable(tf.fill([3, 4], value))


def step(embeddings, weights):
    noise = noise_table([3, 2, 1])
    return train_block(embeddings, weights, [0, 1, 0, 2], noise=noise, seed=(1, 2)).loss


for call in (step, tf.function(step)):
    with tf.device("CPU:0"):
        print(float(call(table(0.1, "CPU:1"), table(0.1, "CPU:1"))) > 0)
try:
    step(table(0.1, "CPU:0"), table(0.1, "CPU:1"))
except ValueError as error:
    print(error)
"""


def test_a_block_is_trained_where_its_variables_are():
    place = "/job:localhost/replica:0/task:0/device:CPU:"
    assert run(BLOCKS) == [
        "True",
        "True",
        f"embeddings is a variable on {place}0, but weights is one on {place}1: create them on "
        "one device",
    ]


@pytest.mark.parametrize("which", ["embeddings", "weights"])
def test_variables_on_a_gpu_are_refused(which):
    with tf.Graph().as_default():
        tables = {}
        for name in ("embeddings", "weights"):
            with tf.device("/GPU:0" if name == which else "/CPU:0"):
                tables[name] = tf.Variable(np.zeros([3, 4], np.float32))
        with pytest.raises(ValueError) as error:
            train_block(**tables, ids=[0, 1], noise=noise_table([3, 2, 1]), seed=(1, 2))
    assert str(error.value) == (
        f"{which} is a variable on /device:GPU:0, but word vectors are trained on the CPU: create "
        'it within tf.device("CPU:0")'
    )
