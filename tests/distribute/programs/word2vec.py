"""Word vectors on two workers. Argument: a directory that both see."""

import math
import os
import signal
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

from distribute.programs.refusing import raises  # noqa: E402

import fastw2v  # noqa: E402
from fastw2v.word2vec.corpus import read_corpus  # noqa: E402
from fastw2v.word2vec.training import workers  # noqa: E402
from fastw2v.word2vec.training.merging import rows_to_merge  # noqa: E402

DIRECTORY = Path(sys.argv[1])
RANK = STRATEGY.cluster_resolver.task_id
WORKERS, EPOCHS = 2, 2
# So that a short text is merged often.
workers._FEWEST_TOKENS = 100


def sentences(seed=0):
    words = [f"w{number}" for number in range(200)]
    weights = 1 / np.arange(1, 201)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(words, size=[1500, 12], p=weights / weights.sum())
    return drawn.tolist()


def model(**options):
    given = {"vector_size": 8, "min_count": 1, "sample": 0.01, "workers": 1, "epochs": EPOCHS}
    with STRATEGY.scope():
        return fastw2v.Word2Vec(**{**given, "merge_every": 0.05, **options})


def tables(trained):
    names = ("embeddings", "weights", "node_weights")
    return {n: getattr(trained, n).numpy() for n in names if getattr(trained, n) is not None}


def sent(x):
    """In float64, as bfloat16 has it."""
    return tf.cast(tf.cast(x, tf.bfloat16), tf.float64).numpy()


def merged(base, changed):
    """The rule, in float64, of what goes over the wire."""
    changes = [each - base for each in changed]
    total = sent(sum(sent(change) for change in changes))
    squares = sent(sum(sent((change**2).sum(-1)) for change in changes))
    length = (total**2).sum(-1)
    diversity = np.where(length > squares, squares / np.where(length, length, 1), 1)
    return base + total * diversity[:, None]


def by_one_process(corpus, settings):
    """The same, one worker after the other."""
    strategy = tf.distribute.get_strategy()
    assert not tf.distribute.has_strategy(), strategy
    models = [fastw2v.Word2Vec(**settings) for _ in range(WORKERS)]
    for each in models:
        each.build_vocab(corpus)
    unsorted = "weights" if models[0].hs else None
    bases = tables(models[0])
    share = math.ceil(0.05 * len(corpus.ids) / WORKERS)
    total, seen = EPOCHS * corpus.num_tokens, 0
    alpha, end = models[0].alpha, models[0].min_alpha
    times, losses = 0, []

    def merge(whole):
        nonlocal times
        times += 1
        for name, base in bases.items():
            turn = len(base) if whole or name == unsorted else rows_to_merge(len(base), times)
            base[:turn] = merged(base[:turn], [getattr(m, name).numpy()[:turn] for m in models])
            for each in models:
                getattr(each, name)[:turn].assign(base[:turn])

    for epoch in range(EPOCHS):
        loss = examples = 0
        for block, ids in enumerate(corpus.blocks(share)):
            words = int((ids >= 0).sum())
            rates = [2**0.5 * (alpha + (end - alpha) * at / total) for at in (seen, seen + words)]
            trainer = models[block % WORKERS]._trainer()
            met = trainer.train(np.array(ids), (1, (epoch << 32) + block), *rates)
            loss, examples, seen = loss + met[0], examples + met[1], seen + words
            if (block + 1) % WORKERS == 0:
                merge(whole=False)
        merge(whole=True)
        losses.append(loss / examples)
    return bases, losses


corpus = read_corpus(sentences(), min_count=1)
for form in ({"sg": 1}, {"sg": 0, "hs": 1, "negative": 0}):
    trained = model(**form)
    trained.build_vocab(corpus)
    assert trained.train(corpus)[0] == EPOCHS * corpus.num_tokens
    again = model(**form)
    again.build_vocab(corpus)
    again.train(corpus)
    settings = {"vector_size": 8, "min_count": 1, "sample": 0.01, "workers": 1, **form}
    expected, losses = by_one_process(corpus, settings)
    np.testing.assert_allclose(trained.losses, losses, rtol=1e-4)
    for name, table in tables(trained).items():
        assert (table == tables(again)[name]).all(), name
        # A number that is rounded the other way differs by 2**-8 of a change, and what follows too.
        error = np.linalg.norm(table - expected[name]) / np.linalg.norm(table)
        assert error < 3e-3, (name, error)
        print(name, table.tobytes().hex()[:64], table.sum(dtype=np.float64), flush=True)

# ---- Ctrl-C on one worker, a checkpoint, and going on --------------------------------------------

PATH = DIRECTORY / "model"
stopped = model(sg=1)
stopped.build_vocab(corpus)


def interrupt(progress):
    if RANK == 1 and progress.words > corpus.num_tokens / 2:
        os.kill(os.getpid(), signal.SIGINT)


raises(KeyboardInterrupt, "", lambda: stopped.train(corpus, report=interrupt, checkpoint=PATH))
fastw2v.distribute.Group(STRATEGY)  # a barrier, as making a group is a collective
with STRATEGY.scope():
    resumed = fastw2v.Word2Vec.load(PATH)
assert all((tables(resumed)[name] == table).all() for name, table in tables(stopped).items())
assert 0 < resumed._state.run.words < corpus.num_tokens and not resumed.losses
resumed.train(corpus, resume=True)
assert len(resumed.losses) == EPOCHS and resumed.losses[1] < resumed.losses[0]
print("resumed", resumed.embeddings.numpy().sum(dtype=np.float64), flush=True)

# One process goes on with it as well, and so would another number of workers.
alone = fastw2v.Word2Vec.load(PATH)
alone.train(corpus, resume=True)
assert len(alone.losses) == EPOCHS

# ---- What is refused -----------------------------------------------------------------------------

other = model()
texts = [read_corpus(sentences(seed), min_count=1) for seed in (0, 1)]
other.build_vocab(texts[RANK])
raises(
    ValueError,
    "the vocabulary of worker 1 differs from that of worker 0",
    lambda: other.train(texts[RANK]),
)
other = model(alpha=[0.025, 0.05][RANK])
other.build_vocab(corpus)
raises(ValueError, "the argument alpha of worker 1 differs", lambda: other.train(corpus))
raises(ValueError, 'loss = "softmax" is trained by one worker', lambda: model(loss="softmax"))
print("all checks passed", flush=True)

# ---- A worker that ends --------------------------------------------------------------------------

last = model(sg=1, epochs=1000)
last.build_vocab(corpus)


def die(progress):
    if RANK == 1 and progress.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)


raises(ConnectionError, "another worker has ended", lambda: last.train(corpus, report=die))
print("told", flush=True)
