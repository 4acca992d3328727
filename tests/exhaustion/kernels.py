"""Every entry of the module fastw2v._kernels without memory ("memory") or threads ("threads").

argv: the module's file, and what there is none of.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
from limits import Call, run_out_of_memory, start_no_threads

spec = importlib.util.spec_from_file_location("_kernels", sys.argv[1])
kernels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernels)

rng = np.random.default_rng(0)
BATCH, CLASSES, DIM = 50_000, 200, 16
THREADS = {"num_threads": 4}


def floats(*shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def ids(high, *shape):
    return rng.integers(high, size=shape)


def losses(dtype, form):
    sampled = {"exact": None, "shared": ids(CLASSES, 50), "own": ids(CLASSES, BATCH, 3)}[form]
    tables = [floats(CLASSES, DIM), floats(CLASSES)]
    if dtype == "bfloat16":
        tables = [(table.view(np.uint32) >> 16).astype(np.uint16) for table in tables]
    loss = getattr(kernels, f"Loss_{dtype}")(
        floats(BATCH, DIM), *tables, ids(CLASSES, BATCH, 1), sampled, **THREADS
    )
    _, largest, log_sum = loss.forward()
    d_loss = floats(BATCH)
    name = f"Loss_{dtype} {form} "
    return {
        name + "forward": Call(loss.forward),
        name + "backward": Call(lambda: loss.backward(d_loss, largest, log_sum)),
        name + "forward_backward": Call(lambda: loss.forward_backward(d_loss)),
    }


def gathers():
    gather = kernels.Gather_float32(floats(1000, DIM), ids(1000, BATCH, 2), **THREADS)
    d_hidden = floats(BATCH, DIM)
    return {
        "Gather_float32 forward": Call(gather.forward),
        "Gather_float32 backward": Call(lambda: gather.backward(d_hidden)),
    }


def optimizers():
    numbers = {"learning_rate": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7, "step": 1}
    weights, *slots = (np.abs(floats(BATCH, DIM)) for _ in range(3))
    history = np.zeros(BATCH, np.int64), np.zeros((20, 4))
    optimizer = kernels.Optimizer_float32(
        "adam", weights, slots, row_updates=history[0], history=history[1], lazy=True, **THREADS
    )
    values, rows = floats(BATCH, DIM), ids(BATCH, BATCH)
    whole = floats(BATCH, DIM)

    def state():
        return [weights, *slots, *history]

    return {
        "Optimizer_float32 update": Call(lambda: optimizer.update(rows, values, numbers), state),
        "Optimizer_float32 update_all": Call(
            lambda: optimizer.update_all(whole, numbers), state, small=True
        ),
        "Optimizer_float32 apply_pending": Call(
            lambda: optimizer.apply_pending(None, numbers), state, small=True
        ),
    }


def samplers():
    counts = floats(200_000, dtype=np.float64) ** 2
    table = kernels.unigram_table(counts, 0.75)
    labels = ids(200_000, BATCH, 1)
    calls = {
        f"sample_candidates {sampler}": Call(
            lambda sampler=sampler, table=table: kernels.sample_candidates(
                labels, (1, 2), sampler, 200_000, 20_000, table=table, **THREADS
            )
        )
        for sampler, table in (("uniform", None), ("log_uniform", None), ("unigram", table))
    }
    return {
        **calls,
        "unigram_table": Call(lambda: kernels.unigram_table(counts, 0.75)),
        "noise_table": Call(lambda: kernels.noise_table(counts, 0.75)),
        "huffman_tree": Call(lambda: kernels.huffman_tree(counts)),
        "keep_probabilities": Call(lambda: kernels.keep_probabilities(counts, 1e-3)),
    }


def examples():
    words = ids(1000, 100_000)
    embeddings, weights = floats(1000, DIM), np.zeros((1000, DIM), np.float32)
    noise = kernels.noise_table(np.ones(1000), 0.75)
    text = words.astype(np.int32)
    return {
        "skip_grams": Call(lambda: kernels.skip_grams(words, 5, **THREADS)),
        "cbow_bags": Call(lambda: kernels.cbow_bags(words, 5, **THREADS)),
        "train_word2vec": Call(
            lambda: kernels.train_word2vec(
                embeddings, weights, text, None, noise, (1, 2), deterministic=True, **THREADS
            ),
            small=True,
        ),
    }


def texts():
    words = [f"{i:x}" for i in range(200_000)]
    piece = " ".join(words).encode()
    sentences = [words[i : i + 1000] for i in range(0, len(words), 1000)]

    def scanned():
        scanner = kernels.TextScanner()
        scanner.scan(piece, **THREADS)
        scanner.end_text()
        return scanner

    full = scanned()
    numbers = rng.permutation(1_000_000).astype(np.int32)
    return {
        "TextScanner scan": Call(scanned),
        "TextScanner scan_sentences": Call(lambda: kernels.TextScanner().scan_sentences(sentences)),
        "TextScanner vocabulary": Call(lambda: full.vocabulary(1)),
        "Renumbering": Call(lambda: kernels.Renumbering(numbers)(numbers[:1000])),
    }


def subwords():
    words = [f"{i:x}".encode() for i in range(100_000)]
    splits = np.arange(0, 100_001, 10)
    table, rows = floats(1000, DIM), ids(1000, 100_000)
    return {
        "subwords": Call(lambda: kernels.subwords(b"a" * 10**6, 3, 6, 1000)),
        "word_bags": Call(lambda: kernels.word_bags(words, 3, 6, 1000)),
        "mean_rows": Call(lambda: kernels.mean_rows(table, splits, rows, **THREADS)),
    }


def id_tables():
    def given():
        table = kernels.IdTable()
        table.give(many_ids, **THREADS)
        return table

    many_ids = ids(10**12, 40 * BATCH)
    full = given()
    return {
        "IdTable give": Call(given),
        "IdTable find": Call(lambda: full.find(many_ids, **THREADS)),
        "draw_row_float32": Call(lambda: kernels.draw_row_float32(1, 2, 0.0, 1.0, 10**7)),
    }


def top_k():
    hidden, weights = floats(BATCH, DIM), floats(CLASSES, DIM)
    return {
        "top_k_float32": Call(lambda: kernels.top_k_float32(hidden, weights, None, 20, **THREADS))
    }


calls = {
    **losses("float32", "exact"),
    **losses("float32", "shared"),
    **losses("bfloat16", "own"),
    **gathers(),
    **optimizers(),
    **samplers(),
    **examples(),
    **texts(),
    **subwords(),
    **id_tables(),
    **top_k(),
}
# What cannot fail for want of either: no arrays, no threads.
simple = {"instruction_set", "instruction_sets", "select_instruction_set", "philox", "formulas"}
simple |= {"update_numbers", "HISTORY_COLUMNS"}
dtypes = ("float64", "float16", "bfloat16")  # the same code as float32
named = {name.split()[0] for name in calls} | simple
entries = {name for name in dir(kernels) if not name.startswith(("_", "cuda"))}
missing = {name for name in entries - named if not name.endswith(dtypes)}
assert not missing, f"without a call here: {missing}"

if sys.argv[2] == "memory":
    run_out_of_memory(calls, [0, 1, 4, 16], (MemoryError, RuntimeError))
else:
    start_no_threads(calls)
