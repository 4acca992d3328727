"""`fastw2v.Word2Vec`: gensim's interface, what is told, and that nothing is lost."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
from contextlib import contextmanager
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastw2v
from fastw2v.word2vec.corpus import read_corpus
from fastw2v.word2vec.training import objectives, saved_model, train_op

TOPICS, TOPIC_WORDS = 8, 12


def topics_text(num_sentences=4000, seed=0):
    """Sentences, each of words of one topic: "ba" to "bl" are one, "ca" to "cl" another."""
    rng = np.random.default_rng(seed)
    words = np.array([[f"{a}{b}" for b in "abcdefghijkl"] for a in "bcdfghjk"])
    topics = rng.integers(0, TOPICS, num_sentences)
    return words[topics[:, None], rng.integers(0, TOPIC_WORDS, (num_sentences, 8))].tolist()


@pytest.fixture(scope="module")
def corpus():
    return read_corpus(topics_text())


@pytest.fixture(scope="module")
def small_corpus():
    return read_corpus(topics_text(600))


@pytest.fixture
def many_blocks(monkeypatch):
    """Blocks so small that a pass over `small_corpus` is six of them."""
    monkeypatch.setattr(objectives.TextObjective, "block_tokens", 1000)
    monkeypatch.setattr(objectives.Softmax, "block_tokens", 1000)


# Losses and forms. Words are few and frequent, so none is left out.
SMALL = {"vector_size": 16, "sg": 1, "sample": 0, "epochs": 3, "alpha": 0.05}
FORMS = {
    "skip-gram": {},
    "CBOW": {"sg": 0, "alpha": 0.2},
    "CBOW, sums": {"sg": 0, "cbow_mean": 0},
    "hierarchical softmax": {"hs": 1, "negative": 0},
    "hierarchical softmax, CBOW": {"sg": 0, "hs": 1, "negative": 0, "alpha": 0.2},
    "softmax": {"loss": "softmax", "batch_size": 512},
    "softmax, CBOW": {"sg": 0, "loss": "softmax", "batch_size": 512},
    "sampled softmax": {"loss": "sampled_softmax", "num_sampled": 24, "batch_size": 512},
}


def bits(model):
    tables = [model.embeddings, model.weights, model.biases]
    return [table.numpy().tobytes() for table in tables if table is not None]


@pytest.mark.parametrize("form", FORMS)
def test_words_of_a_topic_become_neighbors(corpus, form):
    epochs = 3 if "loss" in FORMS[form] else 6  # of the slower ones
    model = fastw2v.Word2Vec(corpus, **SMALL | FORMS[form] | {"epochs": epochs})
    assert model.wv.words == corpus.vocabulary.words
    assert model.wv.vectors.shape == (TOPICS * TOPIC_WORDS, 16)
    of_the_topic = [
        other[0] == word[0]
        for word in model.wv.words
        for other, _ in model.wv.most_similar(word, topn=TOPIC_WORDS - 1)
    ]
    assert np.mean(of_the_topic) > 0.99
    assert len(model.losses) == epochs
    assert model.losses[-1] < 0.95 * model.losses[0]
    assert model.evaluate(topics_text(200, seed=1)) > -math.log(TOPICS * TOPIC_WORDS) + 0.5


def test_as_gensim_is_used(corpus):
    sentences = topics_text(600)
    model = fastw2v.Word2Vec(vector_size=8, window=2, min_count=1, workers=3)
    assert (model.vector_size, model.window, model.epochs) == (8, 2, 5)
    model.build_vocab(sentences)
    assert (model.corpus_count, model.corpus_total_words) == (600, 4800)
    model.train(sentences, total_examples=model.corpus_count, epochs=2, compute_loss=True)
    assert len(model.losses) == 2
    model.train(iter(sentences), total_words=4800, epochs=1, start_alpha=0.01, end_alpha=0.01)
    assert len(model.losses) == 3
    assert model.get_latest_training_loss() > 0
    assert "ba" in model.wv


@pytest.mark.parametrize(
    "form", ["skip-gram", "CBOW", "hierarchical softmax", "softmax", "sampled softmax"]
)
def test_deterministic(small_corpus, form, many_blocks):
    def train(seed):
        options = SMALL | FORMS[form] | {"epochs": 1, "deterministic": True, "seed": seed}
        return bits(fastw2v.Word2Vec(small_corpus, **options))

    assert train(1) == train(1)
    assert all(a != b for a, b in zip(train(1), train(2), strict=True))


def test_sources_of_the_same_text_are_the_same(tmp_path):
    sentences = topics_text(300)
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(words) + "\n" for words in sentences))
    options = SMALL | {"deterministic": True}
    expected = bits(fastw2v.Word2Vec(sentences, **options))
    assert bits(fastw2v.Word2Vec(corpus_file=path, **options)) == expected
    assert bits(fastw2v.Word2Vec(corpus_file=path, cache=tmp_path / "ids", **options)) == expected
    model = fastw2v.Word2Vec(**options)
    model.build_vocab(corpus_file=str(path))
    model.train(sentences)
    assert bits(model) == expected


def test_first_vectors_are_those_of_gensim():
    model = fastw2v.Word2Vec(vector_size=50)
    model.build_vocab([[f"w{number}" for number in range(400)]] * 5)
    vectors = model.wv.vectors
    assert -1 / 50 <= vectors.min() < -0.99 / 50 and 0.99 / 50 < vectors.max() <= 1 / 50
    assert abs(vectors.mean()) < 1e-3
    assert not model.weights.numpy().any()


def test_what_is_told(small_corpus, many_blocks):
    reports = []
    model = fastw2v.Word2Vec(small_corpus, **SMALL, min_alpha=0.01, report=reports.append)
    words = [now.words for now in reports if not now.epoch_ended]
    assert all(a < b for a, b in pairwise(words)) and words[-1] == 3 * 4800
    assert len(words) == 18
    for now in reports:
        assert now.done == pytest.approx(now.words / 14400)
        assert now.learning_rate == pytest.approx(0.05 - 0.04 * now.done)
        assert now.epochs == 3 and now.seconds > 0 and now.words_per_second > 0
    ends = [now for now in reports if now.epoch_ended]
    assert [now.epoch for now in ends] == [1, 2, 3]
    assert [now.loss for now in ends] == model.losses
    # A mean over pairs: of one and five words of the noise, logits near 0 to begin with.
    assert 5.5 * math.log(2) < reports[0].loss < 6.0 * math.log(2)
    last = [now for now in reports if not now.epoch_ended][-1]
    assert model.get_latest_training_loss() == pytest.approx(
        3 * last.examples * np.mean(model.losses), rel=0.05
    )


def test_loss_is_that_of_the_definition():
    """One block of one sentence, all words met before any update."""
    model = fastw2v.Word2Vec(
        [["a", "b", "c"]] * 5, vector_size=4, sg=1, sample=0, shrink_windows=False, loss="softmax"
    )
    embeddings, weights = model.embeddings.numpy(), model.weights.numpy()
    biases = model.biases.numpy()
    model.train([["a", "b", "c"]], epochs=1)
    logits = embeddings @ weights.T + biases
    losses = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits
    expected = losses[~np.eye(3, dtype=bool)].mean()  # each word with both others
    assert model.losses[-1] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_log_likelihood_is_that_of_the_definition(form):
    text = [["a", "b", "c", "d", "b"], ["c", "a"]]
    model = fastw2v.Word2Vec(
        text * 40,
        **SMALL
        | FORMS[form]
        | {"num_sampled": 2, "shrink_windows": False, "window": 2, "alpha": 0.02},
    )
    embeddings, weights = model.embeddings.numpy(), model.weights.numpy()

    def log_probabilities(hidden):
        if model.hs:
            splits, steps, _ = train_op.huffman_tree(model.vocabulary.counts)
            logits = hidden @ weights[steps.numpy() // 2].T
            turns = -np.logaddexp(0, np.where(steps.numpy() % 2, logits, -logits))
            return np.add.reduceat(turns, splits.numpy()[:-1], axis=1)
        logits = hidden @ weights.T + biases
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    if model.loss is None:
        noise = model.vocabulary.counts**0.75
        biases = np.log(noise / noise.sum())
    else:
        biases = model.biases.numpy()
    found = []
    for sentence in text:
        ids = [model.vocabulary.index[word] for word in sentence]
        for k, word in enumerate(ids):
            around = ids[max(k - 2, 0) : k] + ids[k + 1 : k + 3]
            if model.sg:
                hidden = embeddings[around]
            else:
                combine = np.mean if model.cbow_mean else np.sum
                hidden = combine(embeddings[around], axis=0, keepdims=True)
            found.extend(log_probabilities(hidden)[:, word])
    assert model.evaluate(text) == pytest.approx(np.mean(found), rel=1e-5)
    assert model.evaluate([*text, ["unknown", "a"]]) == pytest.approx(np.mean(found), rel=1e-5)


def test_threads_without_locks_learn_as_much(corpus):
    held_out = topics_text(500, seed=1)
    found = [
        fastw2v.Word2Vec(corpus, **SMALL, deterministic=deterministic).evaluate(held_out)
        for deterministic in (False, True)
    ]
    # All threads meet the same 96 words: up to 5% were seen. A model that knows nothing: 80%.
    assert found[0] == pytest.approx(found[1], rel=0.1)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("sg", [0, 1])
def test_a_handful_of_words_is_learned(sg, deterministic):
    """All of them are in every block: steps must not add up."""
    sentences = [["red", "green", "blue"], ["one", "two", "three"]] * 200
    model = fastw2v.Word2Vec(
        sentences, vector_size=16, sample=0, epochs=20, sg=sg, deterministic=deterministic
    )
    assert model.losses[-1] < 0.8 * model.losses[0]
    assert np.isfinite(model.wv.vectors).all() and np.abs(model.wv.vectors).max() < 5


class Stop(Exception):
    pass


def stop_after(number):
    """A report that stops training."""
    calls = iter(range(number))

    def report(now):
        if next(calls, None) is None:
            raise Stop

    return report


# In a pass, at its last block, at its end.
@pytest.mark.parametrize(
    ("form", "after"),
    [
        *(("skip-gram", 0), ("skip-gram", 5), ("skip-gram", 6), ("CBOW", 15)),
        *(("hierarchical softmax", 5), ("sampled softmax", 9)),
    ],
)
def test_resumed_training_gives_the_same_bits(small_corpus, many_blocks, form, after, tmp_path):
    options = SMALL | FORMS[form] | {"deterministic": True}
    whole = fastw2v.Word2Vec(small_corpus, **options)
    model = fastw2v.Word2Vec(**options)
    model.build_vocab(small_corpus)
    with pytest.raises(Stop):
        model.train(report=stop_after(after))
    assert bits(model) != bits(whole)
    model.save(tmp_path / "model")
    model.train(resume=True)
    assert bits(model) == bits(whole) and model.losses == whole.losses
    model.train(resume=True)  # nothing is left to do
    assert bits(model) == bits(whole)

    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    loaded.train(topics_text(600), resume=True)
    assert bits(loaded) == bits(whole) and loaded.losses == whole.losses
    assert loaded.get_latest_training_loss() == whole.get_latest_training_loss()


def test_interrupted_between_two_blocks(small_corpus, many_blocks, tmp_path):
    """Ctrl-C waits until what it stops is whole, writes a checkpoint and is then what it was."""
    options = SMALL | {"deterministic": True}
    whole = fastw2v.Word2Vec(small_corpus, **options)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        model = fastw2v.Word2Vec(**options)
        model.build_vocab(small_corpus)
        reports = []

        def interrupt(now):
            reports.append(now)
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            model.train(report=interrupt, checkpoint=tmp_path / "model")
        assert len(reports) == 1
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not saved_model.is_finished(tmp_path / "model")
    loaded = fastw2v.Word2Vec.load(tmp_path / "model")
    loaded.train(small_corpus, resume=True, checkpoint=tmp_path / "model")
    assert bits(loaded) == bits(whole)
    assert saved_model.is_finished(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


def test_another_text_is_not_gone_on_with(small_corpus, many_blocks):
    model = fastw2v.Word2Vec(**SMALL)
    model.build_vocab(small_corpus)
    with pytest.raises(ValueError, match="the model was never trained"):
        model.train(resume=True)
    with pytest.raises(Stop):
        model.train(report=stop_after(2))
    with pytest.raises(ValueError, match="the text has 800 words .* had 4,800: it is another one"):
        model.train(topics_text(100), resume=True)
    other = read_corpus([["ba", "bb"]] * 5)
    with pytest.raises(ValueError, match="numbered by another vocabulary"):
        model.train(other)


@contextmanager
def files_at_most(size):
    """What a disk does that is full: no file of this process grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_the_old_file_whole(small_corpus, many_blocks, tmp_path):
    path = tmp_path / "model"
    model = fastw2v.Word2Vec(small_corpus, **SMALL)
    model.save(path)
    before = path.read_bytes()
    model.train(epochs=1)
    with files_at_most(len(before) // 2), pytest.raises(OSError) as caught:
        model.save(path)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model"]
    # It is no reason to lose the training, on the way or at its end.
    with files_at_most(len(before) // 2), pytest.warns(RuntimeWarning, match="no checkpoint was"):
        model.train(epochs=2, checkpoint=path, checkpoint_every=1e-6)
    assert len(model.losses) == 6
    with files_at_most(len(before) // 2), pytest.warns(RuntimeWarning, match="save it elsewhere"):
        assert len(fastw2v.Word2Vec(small_corpus, **SMALL, checkpoint=path).losses) == 3
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("form", ["skip-gram", "softmax"])
def test_saved_and_loaded(small_corpus, form, tmp_path):
    path = tmp_path / "a.model"
    model = fastw2v.Word2Vec(small_corpus, **SMALL | FORMS[form], evaluate=topics_text(10))
    model.save(path)
    loaded = fastw2v.Word2Vec.load(path)
    assert bits(loaded) == bits(model)
    assert loaded.settings == model.settings
    assert loaded.vocabulary.words == model.vocabulary.words
    assert loaded.vocabulary.counts.tolist() == model.vocabulary.counts.tolist()
    assert loaded.losses == model.losses and loaded.log_likelihoods == model.log_likelihoods
    assert loaded.corpus_count == 600
    loaded.train(topics_text(600), epochs=1)
    model.train(epochs=1)
    assert len(loaded.losses) == 4 and bits(loaded) != bits(fastw2v.Word2Vec.load(path))


def test_what_is_no_model_is_refused(small_corpus, tmp_path):
    path = tmp_path / "model"
    fastw2v.Word2Vec(small_corpus, **SMALL).save(path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content in (
        b"",
        b"text",
        whole[:-1],
        whole[:middle],
        whole[:middle] + b"!!" + whole[middle + 2 :],
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="model is not a saved model of fastw2v, or"):
            fastw2v.Word2Vec.load(path)
    with pytest.raises(FileNotFoundError):
        fastw2v.Word2Vec.load(tmp_path / "nowhere")


def test_tables_are_in_checkpoints_of_tensorflow(small_corpus, tmp_path):
    model = fastw2v.Word2Vec(small_corpus, **SMALL)
    assert {variable.name for variable in model.variables} == {"embeddings:0", "weights:0"}
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    other = fastw2v.Word2Vec(small_corpus, **SMALL, seed=2)
    assert bits(other) != bits(model)
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    assert bits(other) == bits(model)


def test_a_keras_model_shares_the_vectors(small_corpus):
    model = fastw2v.Word2Vec(small_corpus, **SMALL)
    before = model.wv.vectors.copy()
    layer = model.embedding_layer()
    ids = tf.range(4)
    np.testing.assert_array_equal(layer(ids), before[:4])
    classifier = keras.Sequential(
        [keras.Input([], dtype="int32"), layer, keras.layers.Dense(2, activation="softmax")]
    )
    classifier.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    classifier.fit(ids, ids % 2, verbose=0)
    changed = np.any(model.wv.vectors != before, axis=1)
    assert changed[:4].all() and not changed[4:].any()
    np.testing.assert_array_equal(layer(ids), model.wv.vectors[:4])
    model.train(epochs=1)
    np.testing.assert_array_equal(layer(ids), model.wv.vectors[:4])
    assert not model.embedding_layer(trainable=False).trainable_variables


def test_callbacks_of_gensim(small_corpus, many_blocks):
    class Callback:
        def __getattr__(self, name):
            assert name in ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
            return lambda model: calls.append((name[3:], len(model.losses)))

    calls = []
    fastw2v.Word2Vec(small_corpus, **SMALL | {"epochs": 2}, callbacks=[Callback()])
    assert calls == [
        ("train_begin", 0),
        ("epoch_begin", 0),
        ("epoch_end", 1),
        ("epoch_begin", 1),
        ("epoch_end", 2),
        ("train_end", 2),
    ]


def scalars(directory):
    """What TensorBoard would show: for each tag, values by step."""
    found = {}
    for path in directory.iterdir():
        for record in tf.compat.v1.io.tf_record_iterator(str(path)):
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_tensorboard(small_corpus, many_blocks, tmp_path):
    model = fastw2v.Word2Vec(
        small_corpus, **SMALL, evaluate=topics_text(50, seed=1), tensorboard=tmp_path
    )
    found = scalars(tmp_path)
    assert found.keys() == {
        *("loss", "learning_rate", "words_per_second"),
        *("epoch_loss", "log_likelihood"),
    }
    assert len(found["loss"]) == len(found["learning_rate"]) == 18
    assert list(found["epoch_loss"]) == [4800, 9600, 14400]
    np.testing.assert_allclose(list(found["epoch_loss"].values()), model.losses, rtol=1e-6)
    np.testing.assert_allclose(
        list(found["log_likelihood"].values()), model.log_likelihoods, rtol=1e-6
    )


def test_progress_is_shown(small_corpus, capsys):
    model = fastw2v.Word2Vec(small_corpus, **SMALL, evaluate=topics_text(50, seed=1), progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"epoch {k} of 3" for k in (1, 2, 3)]
    assert f"loss {model.losses[-1]:.4f}, held out {model.log_likelihoods[-1]:.4f}" in lines[-1]


def test_time_ends_training(small_corpus, many_blocks):
    reports = []
    fastw2v.Word2Vec(
        small_corpus, **SMALL | {"epochs": 10**6}, max_seconds=0.5, report=reports.append
    )
    last = reports[-1]
    assert last.words < 10**5 * 4800 and last.done == 1
    assert last.learning_rate == pytest.approx(1e-4)


def test_words_of_another_text(small_corpus, tmp_path):
    model = fastw2v.Word2Vec(small_corpus, **SMALL | {"deterministic": True})
    old, counts = list(model.vocabulary.words), model.vocabulary.counts.copy()
    vectors, weights = model.wv.vectors.copy(), model.weights.numpy()
    more = [["new", "ba", "newer", "new"]] * 6 + [["once", "bb"]]
    model.build_vocab(more, update=True)
    assert model.vocabulary.words == [*old, "new", "newer"]
    assert model.vocabulary.counts.tolist() == [
        *(
            count + 6 * (word == "ba") + (word == "bb")  # however rare in this text
            for word, count in zip(old, counts, strict=True)
        ),
        *(12, 6),
    ]
    np.testing.assert_array_equal(model.wv.vectors[:-2], vectors)
    np.testing.assert_array_equal(model.weights[:-2], weights)
    assert np.all(np.abs(model.wv.vectors[-2:]) <= 1 / 16) and np.all(model.wv.vectors[-2:] != 0)
    assert not np.any(model.weights[-2:])
    with pytest.raises(ValueError, match="no text is given"):
        model.train()
    with pytest.warns(RuntimeWarning, match="changed nothing: no word of the text is known"):
        model.build_vocab([["seldom", "met"]], update=True)
    model.train(more * 20, epochs=2)
    assert model.wv.most_similar("new", topn=1)[0][0] in ("newer", "ba")
    model.save(tmp_path / "model")
    assert bits(fastw2v.Word2Vec.load(tmp_path / "model")) == bits(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector_size": 0}, r"vector_size = 0 is not a Python integer in \[1, "),
        ({"window": 2.5}, r"window = 2\.5 is not a Python integer in \[1, "),
        ({"min_count": -1}, r"min_count = -1 is not a Python integer in \[0, "),
        ({"max_vocab_size": 0}, r"max_vocab_size = 0 is not a Python integer in \[1, "),
        ({"max_final_vocab": "all"}, "max_final_vocab = 'all' is not a Python integer"),
        ({"sg": 2}, r"sg = 2 is not a Python integer in \[0, 1\]"),
        ({"cbow_mean": "no"}, "cbow_mean = 'no' is not a Python integer"),
        ({"negative": -1}, r"negative = -1 is not a Python integer in \[0, "),
        ({"negative": 4097}, r"negative = 4097 is not a Python integer in \[0, 4096\]"),
        ({"negative": 0}, "negative = 0 leaves nothing to train with"),
        ({"hs": 1, "negative": 0, "loss": "softmax"}, 'hs = 1 and loss = "softmax"'),
        ({"loss": "nce"}, 'loss = \'nce\' is not one of "sampled_softmax", "softmax"'),
        ({"ns_exponent": math.inf}, "ns_exponent = inf is not a Python number"),
        ({"sample": 1.0}, r"sample = 1\.0 is not a Python number in \[0\.0, 1\.0\)"),
        ({"alpha": -0.1}, r"alpha = -0\.1 is not a Python number in \[0\.0, inf\)"),
        ({"min_alpha": math.nan}, "min_alpha = nan is not a Python number"),
        ({"epochs": 0}, r"epochs = 0 is not a Python integer in \[1, "),
        ({"seed": -1}, r"seed = -1 is not a Python integer in \[0, "),
        ({"batch_size": 0}, r"batch_size = 0 is not a Python integer in \[1, "),
        ({"tokenizer": "letters"}, 'tokenizer = \'letters\' is not one of "whitespace", "words"'),
        (
            {"loss": "sampled_softmax", "num_sampled": 96},
            r"num_sampled = 96 is not a Python integer in \[1, 95\]",
        ),
        ({"max_seconds": 0}, "max_seconds = 0 is not above 0"),
        ({"checkpoint_every": -1}, "checkpoint_every = -1 is not a Python number"),
        ({"alpha": 1e30, "loss": "softmax"}, "training diverges: .* Take a smaller alpha"),
    ],
)
def test_refused(small_corpus, options, message):
    with pytest.raises(ValueError, match=message):
        fastw2v.Word2Vec(small_corpus, **SMALL | options)


def test_refused_before_there_is_a_text(small_corpus):
    model = fastw2v.Word2Vec()
    for method in (model.train, model.evaluate, model.embedding_layer):
        with pytest.raises(ValueError, match="the model has no vocabulary yet"):
            method()
    with pytest.raises(ValueError, match="the model has no vocabulary yet"):
        model.build_vocab([["a"]], update=True)
    with pytest.raises(ValueError, match="give either sentences or corpus_file"):
        fastw2v.Word2Vec([["a"]], "text.txt")
    with pytest.raises(ValueError, match="the path of a text is given as corpus_file"):
        fastw2v.Word2Vec("text.txt")
    with pytest.raises(TypeError, match="report is given, but no text"):
        fastw2v.Word2Vec(report=print)
    with pytest.raises(AttributeError, match="'Word2Vec' object has no attribute 'vectors'"):
        model.vectors  # noqa: B018


# What stands in the text, and what is said about it.
BAD_TEXTS = {
    "nothing": (b"", "no word occurs at least min_count = 5 times: the text has 0 words"),
    "blank lines": (b"\n \n\t\n", "no word occurs at least min_count = 5 times"),
    "one word": (b"word", "no word occurs at least min_count = 5 times: the text has 1 words"),
    "rare words": (b"to be or not to be\n", "no word occurs .*: the text has 6 words"),
    "binary": (bytes(range(256)) * 20, "text.txt is not text: it holds a zero byte at offset 0"),
    "zeros": (b"\0" * 5000, "text.txt is not text: it holds a zero byte at offset 0"),
    "invalid UTF-8": (b"caf\xe9 au lait\n" * 20, "text.txt is not UTF-8 text"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_texts(name, tmp_path):
    content, message = BAD_TEXTS[name]
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        fastw2v.Word2Vec(corpus_file=path, vector_size=8)
    assert os.listdir(tmp_path) == ["text.txt"]


def test_a_text_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt"):
        fastw2v.Word2Vec(corpus_file=tmp_path / "nowhere.txt")


@pytest.mark.parametrize("sg", [0, 1])
def test_a_handful_of_words_does_not_diverge(sg):
    """Blocks are no longer than a small vocabulary bears: nearly half of these became NaN."""
    text = [["to", "be", "or", "not", "to", "be"] * 1000] * 20
    for seed in range(10):
        model = fastw2v.Word2Vec(text, sg=sg, vector_size=4, epochs=1, seed=seed)
        assert np.isfinite(model.wv.vectors).all()


def test_a_word_alone_and_a_long_line(tmp_path):
    model = fastw2v.Word2Vec([["again"] * 50], vector_size=4, sample=0)
    assert np.isfinite(model.wv["again"]).all()
    # Of so small a text, subsampling leaves next to nothing.
    with pytest.warns(RuntimeWarning, match="subsampling left no two words .* sample = 0"):
        model = fastw2v.Word2Vec([["again"] * 8], vector_size=4, sample=1e-6)
    assert model.wv["again"].any()
    with pytest.warns(RuntimeWarning, match="no two words of the vocabulary within one sentence"):
        model = fastw2v.Word2Vec([["alone"]] * 9, vector_size=4)
    with pytest.warns(RuntimeWarning, match="no two words of the vocabulary within one sentence"):
        assert model.train([["unknown", "words"]], epochs=2) == (0, 4)
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be " * 20_000)  # one line
    model = fastw2v.Word2Vec(corpus_file=path, vector_size=4, epochs=1)
    assert model.corpus_total_words == 120_000 and len(model.vocabulary) == 4
