"""`fastw2v train`: word vectors of a text."""

from __future__ import annotations

import argparse
import errno
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastw2v.commands._options import count, number, positive
from fastw2v.word2vec import formats
from fastw2v.word2vec.corpus import TokenCorpus, read_corpus
from fastw2v.word2vec.progress import ProgressLine

if TYPE_CHECKING:
    from fastw2v.word2vec.model import Word2Vec

_EXAMPLES = """\
examples:
  fastw2v train corpus.txt --output vectors.bin
  fastw2v train books/ --output vectors.txt --sg 0 --vector-size 300 --epochs 10
  fastw2v train corpus.txt.gz --output vectors.kv --eval other.txt --tensorboard logs

Ctrl-C saves what was trained so far; the same command with --resume goes on.
"""

_yes_or_no = {"type": int, "choices": (0, 1), "metavar": "0|1"}
# Title of a group, and its options: name, the default or None, what argparse is told, help. They
# are the settings of `fastw2v.Word2Vec`, under the same names.
_SETTINGS: dict[str, list[tuple[str, Any, dict[str, Any], str]]] = {
    "what is read": [
        (
            "--tokenizer",
            "whitespace",
            {"choices": ("whitespace", "words")},
            "how a line becomes words: at white space, or runs of letters in lower case",
        ),
        ("--min-count", 5, {"type": count}, "leave out words that occur less often"),
        ("--max-final-vocab", None, {"type": count}, "keep so many of the most frequent words"),
        (
            "--max-vocab-size",
            None,
            {"type": count},
            "forget the rarest words while more than so many are counted: bounds memory",
        ),
    ],
    "what is trained": [
        ("--vector-size", 100, {"type": count}, "width of the vectors"),
        ("--sg", 1, _yes_or_no, "1: skip-gram; 0: CBOW, which is faster"),
        ("--window", 5, {"type": count}, "largest distance between a word and one it predicts"),
        (
            "--negative",
            5,
            {"type": number(int, 0)},
            "words of the noise for each example; 0 with --hs 1",
        ),
        ("--hs", 0, _yes_or_no, "1: hierarchical softmax in place of negative sampling"),
        (
            "--loss",
            None,
            {"choices": ("softmax", "sampled_softmax")},
            "in place of both, and slower: the exact or a sampled softmax",
        ),
        ("--num-sampled", 64, {"type": count}, "words that the sampled softmax draws"),
        ("--cbow-mean", 1, _yes_or_no, "CBOW: 1: mean of the vectors around a word; 0: their sum"),
        (
            "--sample",
            1e-3,
            {"type": number(float, 0, below=1)},
            "thin out words more frequent than this; 0: none",
        ),
        (
            "--shrink-windows",
            1,
            _yes_or_no,
            "1: draw the window of each word, so that near ones count more",
        ),
        (
            "--ns-exponent",
            0.75,
            {"type": number(float, -math.inf, low_allowed=False)},
            "power of the counts that the noise is drawn by",
        ),
    ],
    "how it is trained": [
        ("--epochs", 5, {"type": count}, "passes over the text"),
        ("--alpha", 0.025, {"type": positive}, "learning rate at the beginning"),
        ("--min-alpha", 1e-4, {"type": number(float, 0)}, "learning rate at the end"),
        ("--batch-size", 1024, {"type": count}, "examples in a step of the two softmax losses"),
        ("--seed", 1, {"type": number(int, 0)}, "decides all that is drawn"),
        (
            "--deterministic",
            None,
            {"action": "store_true"},
            "the same vectors at every run, in a longer time",
        ),
    ],
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser(
        "train",
        help="train word vectors on a text",
        description="Train word vectors on a text and write them to a file. Words that occur in "
        "the same surroundings get similar vectors.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument(
        "corpus",
        metavar="CORPUS",
        help="a UTF-8 text with a sentence per line, plain or compressed (.gz, .xz, .bz2, .zst), "
        "or a directory of such files",
    )
    train.add_argument(
        "--output",
        "-o",
        required=True,
        metavar="FILE",
        help="where the vectors go; the name says how: .txt and .bin are word2vec's formats, "
        ".kv gensim's, .npz NumPy's",
    )
    for title, settings in _SETTINGS.items():
        group = train.add_argument_group(title)
        for name, default, how, text in settings:
            if "action" not in how and "choices" not in how:
                how = {"metavar": "N", **how}
            if default is not None:
                text += f" (default: {default})"
            # With --resume it matters which ones are given.
            group.add_argument(name, default=argparse.SUPPRESS, help=text, **how)
    group = train.add_argument_group("on the way")
    group.add_argument(
        "--resume", action="store_true", help="go on with a training that was interrupted"
    )
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="where training is saved on the way and at its end, for --resume and "
        "fastw2v.Word2Vec.load (default: OUTPUT.checkpoint, removed when the vectors are written)",
    )
    group.add_argument(
        "--checkpoint-every",
        type=positive,
        default=10.0,
        metavar="MINUTES",
        help="how often (default: %(default)g)",
    )
    group.add_argument(
        "--eval",
        metavar="FILE",
        help="another text: after each epoch, the mean log-likelihood of its words, in nats",
    )
    group.add_argument("--tensorboard", metavar="DIR", help="write curves for TensorBoard")
    group.add_argument(
        "--cache",
        metavar="FILE",
        help="keep the words of CORPUS as numbers, to read them faster the next time",
    )
    group.add_argument(
        "--workers", type=count, metavar="N", help="threads (default: one for each processor)"
    )


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v train` says, with its options.

    Raises:
        KeyboardInterrupt: Ctrl-C; a checkpoint is written.
        OSError: The text cannot be read, or a file cannot be written.
        ValueError: The text is no text or too short, or options do not fit.
    """
    output = Path(options.output)
    checkpoint = Path(options.checkpoint or f"{output}.checkpoint")
    formats.format_of(output)  # before hours of work
    for path in (output, checkpoint):
        _check_writable(path)
    if options.workers is not None:
        _use_threads(options.workers)
    from fastw2v.word2vec.model import Word2Vec  # brings TensorFlow, which takes seconds

    if options.resume:
        model = Word2Vec.load(checkpoint)
        _check_settings(model, options, checkpoint)
    else:
        model = Word2Vec(**_given(options))
        _check_free(checkpoint)
    corpus = _read(model, options)
    if not options.resume:
        model.build_vocab(corpus)
    try:
        begin = time.monotonic()
        model.train(
            corpus,
            resume=options.resume,
            progress=True,
            evaluate=options.eval,
            tensorboard=options.tensorboard,
            checkpoint=checkpoint,
            checkpoint_every=60 * options.checkpoint_every,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{checkpoint} holds what was trained: the same command with --resume goes on"
        ) from None
    print(f"trained in {time.monotonic() - begin:.0f} s, loss {model.losses[-1]:.4f}")
    model.wv.save(output)
    if options.checkpoint is None:
        checkpoint.unlink()
    print(f"{len(model.vocabulary):,} vectors of width {model.vector_size}: {output}")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that are on the command line."""
    names = [
        name.lstrip("-").replace("-", "_")
        for settings in _SETTINGS.values()
        for name, *_ in settings
    ]
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def _check_settings(model: Word2Vec, options: argparse.Namespace, checkpoint: Path) -> None:
    for name, value in _given(options).items():
        if getattr(model, name) != value:
            raise ValueError(
                f"--{name.replace('_', '-')} {value} does not go with --resume: the training in "
                f"{checkpoint} has {getattr(model, name)}"
            )


def _check_free(checkpoint: Path) -> None:
    from fastw2v.word2vec import saved_model

    if checkpoint.exists() and not saved_model.is_finished(checkpoint):
        raise ValueError(
            f"{checkpoint} holds a training that was interrupted: --resume goes on with it; delete "
            "it to begin anew"
        )


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))


def _use_threads(number: int) -> None:
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != number:
        tf.config.threading.set_intra_op_parallelism_threads(number)


def _read(model: Word2Vec, options: argparse.Namespace) -> TokenCorpus:
    begin = time.monotonic()
    with ProgressLine("reading") as line:

        def report(done: int, total: int, words: int) -> None:
            line.update(done / total if total else None, f"{words:,} words")

        corpus = read_corpus(
            options.corpus,
            cache=options.cache,
            min_count=model.min_count,
            max_vocab_size=model.max_vocab_size,
            max_final_vocab=model.max_final_vocab,
            tokenizer=model.tokenizer,
            workers=options.workers,
            report=report,
        )
    print(
        f"read {corpus.num_words:,} words of {options.corpus} in {time.monotonic() - begin:.0f} s; "
        f"{len(corpus.vocabulary):,} different ones occur at least {model.min_count} times",
        flush=True,
    )
    return corpus
