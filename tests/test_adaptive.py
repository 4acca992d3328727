"""The adaptive softmax against its definition in float64, and against PyTorch's."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastw2v

SHORTLIST, SIZES, WIDTHS, DIM = 7, (9, 30), (6, 3), 12
NUM_CLASSES = SHORTLIST + sum(SIZES)


def tables(dtype="float32", biases=True, seed=0):
    """A head, its biases or None, and tails, as variables."""
    rng = np.random.default_rng(seed)

    def variable(*shape):
        return tf.Variable(tf.cast(rng.normal(size=shape) * 0.5, dtype))

    head = variable(SHORTLIST + len(SIZES), DIM)
    tails = [(variable(DIM, w), variable(n, w)) for n, w in zip(SIZES, WIDTHS, strict=True)]
    return head, variable(SHORTLIST + len(SIZES)) if biases else None, tails


def examples(n=40, dtype="float32", seed=1):
    rng = np.random.default_rng(seed)
    inputs = tf.Variable(tf.cast(rng.normal(size=[n, DIM]), dtype))
    return inputs, rng.integers(NUM_CLASSES, size=n)


def definition(inputs, head, biases, tails):
    """Logarithms of probabilities [n, num_classes], from TensorFlow's dense ops in float64."""

    def wide(x):
        return tf.cast(tf.convert_to_tensor(x), tf.float64)

    logits = wide(inputs) @ tf.transpose(wide(head))
    if biases is not None:
        logits += wide(biases)
    of_head = tf.nn.log_softmax(logits)
    parts = [of_head[:, :SHORTLIST]]
    for i, (projection, weights) in enumerate(tails):
        of_tail = tf.nn.log_softmax(wide(inputs) @ wide(projection) @ tf.transpose(wide(weights)))
        parts.append(of_head[:, SHORTLIST + i, tf.newaxis] + of_tail)
    return tf.concat(parts, 1)


def sources(inputs, head, biases, tails):
    return [
        inputs,
        head,
        *([] if biases is None else [biases]),
        *(t for pair in tails for t in pair),
    ]


def dense(gradient):
    return tf.cast(tf.convert_to_tensor(gradient), tf.float64)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize(
    "weighted, ignored", [(False, False), (True, False), (False, True), (True, True)]
)
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_equals_the_definition(biases, reduction, weighted, ignored, dtype, tolerance):
    head, head_biases, tails = tables(dtype, biases)
    inputs, labels = examples(dtype=dtype)
    rng = np.random.default_rng(2)
    weights = tf.Variable(tf.cast(rng.uniform(0.5, 2, size=len(labels)), dtype))
    ignore = int(labels[0]) if ignored else None
    upstream = rng.normal(size=[len(labels)] if reduction == "none" else [])
    watched = sources(inputs, head, head_biases, tails) + ([weights] if weighted else [])

    with tf.GradientTape() as tape:
        loss = fastw2v.adaptive_softmax_loss(
            labels,
            inputs,
            head,
            tails,
            head_biases,
            sample_weight=weights if weighted else None,
            ignore_label=ignore,
            reduction=reduction,
        )
        total = tf.reduce_sum(tf.cast(loss, tf.float64) * upstream)
    got = tape.gradient(total, watched)
    assert all(gradient is not None for gradient in got)

    with tf.GradientTape() as tape:
        logs = definition(inputs, head, head_biases, tails)
        expected = -tf.gather(logs, labels, batch_dims=1)
        counts = np.ones(len(labels)) if ignore is None else (labels != ignore).astype(float)
        factors = counts * (tf.cast(weights, tf.float64) if weighted else 1.0)
        expected *= factors
        if reduction != "none":
            expected = tf.reduce_sum(expected)
        if reduction == "mean":
            expected /= tf.reduce_sum(factors)
        total = tf.reduce_sum(expected * upstream)
    truth = tape.gradient(total, watched)

    np.testing.assert_allclose(loss, expected, rtol=tolerance, atol=tolerance)
    for gradient, right in zip(got, truth, strict=True):
        right = dense(right)
        atol = tolerance * float(tf.reduce_max(tf.abs(right)))
        np.testing.assert_allclose(dense(gradient), right, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("classes", [range(SHORTLIST), range(SHORTLIST, SHORTLIST + SIZES[0])])
def test_clusters_without_labels_have_gradients_of_zeros(classes):
    head, biases, tails = tables()
    inputs, _ = examples()
    labels = np.resize(list(classes), 40)
    with tf.GradientTape() as tape:
        loss = fastw2v.adaptive_softmax_loss(labels, inputs, head, tails, biases, reduction="mean")
    gradients = tape.gradient(loss, [tails[0][1], *tails[1]])
    assert np.any(dense(gradients[0]) != 0) == (labels[0] >= SHORTLIST)
    assert not np.any(dense(gradients[1])) and not np.any(dense(gradients[2]))


@pytest.mark.parametrize("jit", [None, True])
def test_in_a_graph(jit):
    head, biases, tails = tables()
    inputs, labels = examples()

    @tf.function(jit_compile=jit)
    def step(inputs, labels):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = fastw2v.adaptive_softmax_loss(
                labels, inputs, head, tails, biases, ignore_label=-1, reduction="mean"
            )
        return loss, [
            tf.convert_to_tensor(g) for g in tape.gradient(loss, [inputs, head, *tails[1]])
        ]

    labels = np.where(np.arange(len(labels)) % 5, labels, -1)
    inputs = tf.convert_to_tensor(inputs)
    loss, gradients = step(inputs, labels)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logs = definition(inputs, head, biases, tails)
        losses = -tf.gather(logs, np.maximum(labels, 0), batch_dims=1)
        expected = tf.reduce_sum(losses * (labels >= 0)) / np.sum(labels >= 0)
    truth = tape.gradient(expected, [inputs, head, *tails[1]])
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for gradient, right in zip(gradients, truth, strict=True):
        np.testing.assert_allclose(gradient, dense(right), rtol=1e-4, atol=1e-6)


def test_sequences_of_examples():
    head, biases, tails = tables()
    inputs, labels = examples()
    flat = fastw2v.adaptive_softmax_loss(labels, inputs, head, tails, biases)
    shaped = fastw2v.adaptive_softmax_loss(
        labels.reshape(5, 8), tf.reshape(inputs, [5, 8, DIM]), head, tails, biases
    )
    assert shaped.shape == [5, 8]
    np.testing.assert_array_equal(tf.reshape(shaped, [-1]), flat)
    values, classes = fastw2v.adaptive_top_k(
        tf.reshape(inputs, [5, 8, DIM]), head, tails, biases, 3
    )
    assert values.shape == classes.shape == [5, 8, 3]
    logs = fastw2v.adaptive_log_probabilities(tf.reshape(inputs, [5, 8, DIM]), head, tails, biases)
    assert logs.shape == [5, 8, NUM_CLASSES]


def test_16_bits():
    head, biases, tails = tables("bfloat16")
    inputs, labels = examples()
    loss = fastw2v.adaptive_softmax_loss(labels, inputs, head, tails, biases)
    assert loss.dtype == tf.float32
    logs = definition(tf.cast(inputs, tf.bfloat16), head, biases, tails)
    np.testing.assert_allclose(loss, -tf.gather(logs, labels, batch_dims=1), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("k", [1, 5, SHORTLIST + 2, NUM_CLASSES])
def test_probabilities_and_the_largest(k, biases):
    head, head_biases, tails = tables(biases=biases)
    inputs, _ = examples()
    expected = definition(inputs, head, head_biases, tails)
    logs = fastw2v.adaptive_log_probabilities(inputs, head, tails, head_biases)
    np.testing.assert_allclose(logs, expected, rtol=1e-5, atol=1e-5)
    values, classes = fastw2v.adaptive_top_k(inputs, head, tails, head_biases, k)
    right = tf.math.top_k(expected, k)
    np.testing.assert_allclose(values, right.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(classes, right.indices)


def test_errors_name_the_argument():
    head, biases, tails = tables()
    inputs, labels = examples()
    call = fastw2v.adaptive_softmax_loss
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels holds 46.*\[0, 46\)"):
        call(np.where(labels == labels[3], NUM_CLASSES, labels), inputs, head, tails)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels holds"):
        tf.function(lambda x: call(x, inputs, head, tails))(tf.constant([-2] * 40))
    with pytest.raises(ValueError, match=r"tails\[1\] has shapes"):
        call(labels, inputs, head, [tails[0], tails[1][::-1]])
    with pytest.raises(ValueError, match="tails is not a list of pairs"):
        call(labels, inputs, head, [tails[0][0]])
    with pytest.raises(ValueError, match="head has 2 rows, expected more than the 2 tails"):
        call(labels, inputs, head[:2], tails)
    with pytest.raises(ValueError, match="labels has shape"):
        call(labels[:3], inputs, head, tails)
    with pytest.raises(ValueError, match=r"the weights of tails\[0\] has dtype float64"):
        call(labels, inputs, head, [(tails[0][0], tf.cast(tails[0][1], tf.float64)), tails[1]])
    with pytest.raises(ValueError, match="k = 47"):
        fastw2v.adaptive_top_k(inputs, head, tails, k=NUM_CLASSES + 1)


def test_equals_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model = torch.nn.AdaptiveLogSoftmaxWithLoss(
        DIM, NUM_CLASSES, [SHORTLIST, SHORTLIST + SIZES[0]], div_value=2.0, head_bias=True
    )
    inputs, labels = examples()
    head = tf.Variable(model.head.weight.detach().numpy())
    biases = tf.Variable(model.head.bias.detach().numpy())
    tails = [
        (tf.Variable(first.weight.detach().numpy().T), tf.Variable(second.weight.detach().numpy()))
        for first, second in model.tail
    ]
    theirs = torch.tensor(inputs.numpy(), requires_grad=True)
    _, loss = model(theirs, torch.tensor(labels))
    loss.backward()
    with tf.GradientTape() as tape:
        ours = fastw2v.adaptive_softmax_loss(labels, inputs, head, tails, biases, reduction="mean")
    gradients = tape.gradient(ours, [inputs, head, *tails[0]])
    assert float(ours) == pytest.approx(loss.item(), rel=1e-5)
    first, second = model.tail[0]
    truth = [theirs.grad, model.head.weight.grad, first.weight.grad.T, second.weight.grad]
    for gradient, right in zip(gradients, truth, strict=True):
        np.testing.assert_allclose(dense(gradient), right.numpy(), rtol=1e-5, atol=1e-7)
    logs = model.log_prob(theirs).detach().numpy()
    ours = fastw2v.adaptive_log_probabilities(inputs, head, tails, biases)
    np.testing.assert_allclose(ours, logs, rtol=1e-5, atol=1e-5)


def layer(**options):
    return fastw2v.keras.AdaptiveSoftmax(
        NUM_CLASSES, [SHORTLIST, SHORTLIST + SIZES[0]], div_value=2, **options
    )


def test_layer_equals_the_function():
    head = layer(use_bias=True)
    inputs, labels = examples()
    losses = head(inputs, labels)
    assert [tuple(w.shape) for w in head.weights] == [
        (9, 12),
        (9,),
        (12, 6),
        (9, 6),
        (12, 3),
        (30, 3),
    ]
    expected = fastw2v.adaptive_softmax_loss(
        labels, inputs, head.head_weights, head.tails, head.head_biases
    )
    np.testing.assert_array_equal(losses, expected)
    assert float(head.losses[0]) == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-6)
    values, classes = head.top_k(inputs, 3)
    right = fastw2v.adaptive_top_k(inputs, head.head_weights, head.tails, head.head_biases, 3)
    np.testing.assert_array_equal(classes, right[1])
    np.testing.assert_array_equal(values, right[0])


@pytest.mark.parametrize("jit_compile", ["auto", True])
def test_layer_learns_and_is_saved(tmp_path, jit_compile):
    hidden, labels = keras.Input([DIM]), keras.Input([], dtype="int64")
    head = layer()
    model = keras.Model([hidden, labels], head(hidden, labels))
    model.compile(fastw2v.optimizers.Adam(0.05), jit_compile=jit_compile)
    inputs = np.eye(DIM, dtype=np.float32)
    classes = np.linspace(0, NUM_CLASSES - 1, DIM).astype(np.int64)
    history = model.fit([inputs, classes], epochs=60, verbose=0, batch_size=DIM)
    losses = history.history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    np.testing.assert_array_equal(head.top_k(inputs, 1)[1][:, 0], classes)

    predictor = keras.Model(hidden, head.top_k(hidden, k=2))
    predictor.save(tmp_path / "predictor.keras")
    loaded = keras.saving.load_model(tmp_path / "predictor.keras")
    for got, right in zip(loaded.predict(inputs, verbose=0), head.top_k(inputs, 2), strict=True):
        np.testing.assert_array_equal(got, right)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict([inputs, classes], verbose=0), model.predict([inputs, classes], verbose=0)
    )


def test_layer_leaves_out_what_is_masked():
    head = layer(ignore_label=-1)
    inputs, labels = examples()
    mask = np.arange(40) % 3 > 0
    losses = head(inputs, np.where(np.arange(40) == 1, -1, labels), inputs_mask=tf.constant(mask))
    counts = mask & (np.arange(40) != 1)
    assert np.all((losses.numpy() != 0) == counts)
    assert float(head.losses[0]) == pytest.approx(float(np.sum(losses)) / counts.sum(), rel=1e-6)


def test_layer_checks_its_arguments():
    with pytest.raises(ValueError, match=r"cutoffs = 46 is not a Python integer in \[1, 45\]"):
        fastw2v.keras.AdaptiveSoftmax(NUM_CLASSES, [7, NUM_CLASSES])
    with pytest.raises(ValueError, match=r"cutoffs = \[7, 7\] does not increase"):
        fastw2v.keras.AdaptiveSoftmax(NUM_CLASSES, [7, 7])
    with pytest.raises(ValueError, match="cutoffs = 7 is not a list"):
        fastw2v.keras.AdaptiveSoftmax(NUM_CLASSES, 7)
    with pytest.raises(ValueError, match="div_value = 0.5"):
        fastw2v.keras.AdaptiveSoftmax(NUM_CLASSES, [7], div_value=0.5)
