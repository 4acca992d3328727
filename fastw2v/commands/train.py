"""`fastw2v train`: word vectors of a text."""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import shutil
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastw2v.commands import _cluster
from fastw2v.commands._options import add_corpus, positive, text_path
from fastw2v.commands._settings import SETTINGS, add_settings
from fastw2v.word2vec.corpus import TokenCorpus, read_corpus
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.training.settings import SubwordSettings, table_of
from fastw2v.word2vec.vectors import formats

if TYPE_CHECKING:
    from fastw2v.word2vec.training import Progress, Word2Vec

_EXAMPLES = """\
examples:
  fastw2v train corpus.txt --output vectors.bin
  fastw2v train books/ --output vectors.txt --sg 0 --vector-size 300 --epochs 10
  fastw2v train corpus.txt.gz --output vectors.kv --eval other.txt --tensorboard logs
  fastw2v train corpus.txt --output model.bin --subwords
  cat *.txt | fastw2v train - --output vectors.npz --max-seconds 600
  fastw2v distribute -n 4 fastw2v train corpus.txt --output vectors.bin

Where TF_CONFIG describes a cluster, as in the last example, its workers train together; the first
one writes the files.
Ctrl-C saves what was trained so far; the same command with --resume goes on.
"""

# What differs from `fastw2v.Word2Vec`: skip-gram is the default.
_ON_THE_COMMAND_LINE = {**SETTINGS, "sg": replace(SETTINGS["sg"], default=1)}
# Of `fastw2v.Word2Vec` alone.
_WORDS_ALONE = ("loss", "num_sampled", "batch_size", "merge_every")
# Of `fastw2v.FastText` alone.
_OF_SUBWORDS = {
    name: setting
    for name, setting in table_of(SubwordSettings).items()
    if name not in _ON_THE_COMMAND_LINE
}
# Title of a group of options, and its settings.
_GROUPS = {
    "what is read": ("tokenizer", "min_count", "max_final_vocab", "max_vocab_size"),
    "what is trained": (
        *("vector_size", "sg", "window", "negative", "hs", "loss", "num_sampled", "cbow_mean"),
        *("sample", "shrink_windows", "ns_exponent"),
    ),
    "how it is trained": (
        *("epochs", "alpha", "min_alpha", "schedule", "batch_size", "seed", "deterministic"),
        *("workers", "merge_every"),
    ),
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    train = commands.add_parser(
        "train",
        help="train word vectors on a text",
        description="Train word vectors on a text and write them to a file. Words that occur in\n"
        "the same surroundings get similar vectors.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_corpus(train)
    train.add_argument(
        "--output",
        "-o",
        required=True,
        metavar="FILE",
        help="where the vectors go; the name says how: .txt and .bin are word2vec's formats, "
        ".kv gensim's, .npz NumPy's; with --subwords .bin is fastText's, which alone has vectors "
        "for words never seen",
    )
    for title, names in _GROUPS.items():
        group = train.add_argument_group(title)
        # With --resume it matters which ones are given.
        add_settings(group, (_ON_THE_COMMAND_LINE[name] for name in names), only_given=True)
    group = train.add_argument_group("words that are made of n-grams, as in fastText")
    group.add_argument(
        "--subwords",
        action="store_true",
        help="train the vectors of n-grams of characters, which those of words are made of; words "
        "never seen have vectors, too",
    )
    add_settings(group, _OF_SUBWORDS.values(), only_given=True)
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
    group.add_argument(
        "--max-seconds",
        type=positive,
        metavar="N",
        help="end training N seconds after the start: the learning rate then falls with the time",
    )
    group.add_argument("--tensorboard", metavar="DIR", help="write curves for TensorBoard")
    group.add_argument(
        "--cache",
        metavar="FILE",
        help="keep the words of CORPUS as numbers, to read them faster the next time",
    )


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v train` says, with its options.

    Raises:
        KeyboardInterrupt: Ctrl-C; a checkpoint is written.
        OSError: The text cannot be read, or a file cannot be written.
        ValueError: The text is no text or too short, or options do not fit.
    """
    begin = time.monotonic()
    output = Path(options.output)
    checkpoint = Path(options.checkpoint or f"{output}.checkpoint")
    formats.format_of(output)  # before hours of work
    check_outputs(
        {"--output": output, "--checkpoint": checkpoint, "--cache": options.cache},
        {"CORPUS": options.corpus, "--eval": options.eval},
        {"--tensorboard": options.tensorboard},
    )
    if options.corpus == text_path("-") and _cluster.num_workers() > 1:
        raise ValueError(
            "CORPUS - is the standard input, which each worker of TF_CONFIG has to read: give the "
            "path of a text that all of them see"
        )
    given = _given(options)
    if "workers" in given:
        _use_threads(given["workers"])
    # Brings TensorFlow, which takes seconds.
    from fastw2v.word2vec.training import FastText, Word2Vec

    kind = FastText if options.subwords else Word2Vec
    if options.resume:
        if not checkpoint.exists():
            reason = "there is no training to go on with: leave --resume out to begin one"
            raise FileNotFoundError(
                errno.ENOENT, f"{os.strerror(errno.ENOENT)}; {reason}", str(checkpoint)
            )
        with _cluster.scope():
            model = kind.load(checkpoint)
        if "workers" in given:  # which may be others than before
            model.workers = given.pop("workers")
        _check_settings(model, given, checkpoint)
    else:
        _check_free(checkpoint)
        with _cluster.scope():
            model = kind(**{"sg": _ON_THE_COMMAND_LINE["sg"].default} | given)
    corpus = _read(model, options)
    if not options.resume:
        model.build_vocab(corpus)
    if model.is_chief:
        _warn_of_little_room(model, output, checkpoint)
    seconds = None
    if options.max_seconds is not None:
        seconds = max(begin + options.max_seconds - time.monotonic(), 1.0)
    is_kept = _train(model, corpus, options, checkpoint, seconds)
    if not model.is_chief:
        return
    try:
        _write(model, output)
    except OSError as error:
        remark = (
            f"{checkpoint} holds what was trained: make room, or give another --output, and add "
            f"--resume --checkpoint {checkpoint} to write the vectors"
            if is_kept
            else _rescue(model, checkpoint)
        )
        raise _with_remark(error, remark) from error
    if options.checkpoint is None:
        checkpoint.unlink(missing_ok=True)
    print(f"{len(model.vocabulary):,} vectors of width {model.vector_size}: {output}")
    if options.checkpoint is not None and not is_kept:
        raise OSError(
            f"--checkpoint {checkpoint} could not be written; the vectors are in {output}"
        )


def _write(model: Word2Vec, output: Path) -> None:
    """Writes the vectors; to a file of fastText with the weights, to train on from it."""
    is_of_fasttext = hasattr(model, "save_facebook_model") and not model.hs
    if is_of_fasttext and output.name.lower().endswith(".bin"):
        model.save_facebook_model(output)
    else:
        model.wv.save(output)


def _train(
    model: Word2Vec,
    corpus: TokenCorpus,
    options: argparse.Namespace,
    checkpoint: Path,
    max_seconds: float | None,
) -> bool:
    """Trains to the end, or until the time is over.

    Returns:
        Whether the checkpoint holds what was trained. It takes more room than the vectors, so that
        these may find room where it does not.
    """
    held_out = None if options.eval is None else _read_held_out(model, options.eval)
    begin = time.monotonic()
    last: Progress | None = None
    before_the_end = None

    def report(progress: Progress) -> None:
        nonlocal last, before_the_end
        last, before_the_end = progress, _version(checkpoint)

    try:
        model.train(
            corpus,
            resume=options.resume,
            report=report,
            progress=True,
            evaluate=held_out,
            tensorboard=options.tensorboard,
            checkpoint=checkpoint,
            checkpoint_every=60 * options.checkpoint_every,
            max_seconds=max_seconds,
        )
    except KeyboardInterrupt:
        # Without a checkpoint a second Ctrl-C came before it was written.
        if not (model.is_chief and checkpoint.exists()):
            raise
        raise KeyboardInterrupt(
            f"{checkpoint} holds what was trained: the same command with --resume goes on"
        ) from None
    except ConnectionError as error:
        if not checkpoint.exists():
            raise
        raise ConnectionError(
            f"{error}; {checkpoint} holds what was trained until it was written: the same command "
            "with --resume, of all workers, goes on"
        ) from error
    except OSError as error:
        is_checkpoint = error.filename == str(checkpoint)
        if not is_checkpoint or (last is None and not options.resume):
            raise
        if last is not None and last.done < 1:  # after Ctrl-C
            raise _with_remark(error, _rescue(model, checkpoint)) from error
        warnings.warn(f"no checkpoint was written: {error}", stacklevel=1)
    loss = model.losses[-1] if last is None else last.loss
    _say(model, f"trained in {time.monotonic() - begin:.0f} s, loss {loss:.4f}")
    if last is not None and not (last.epoch_ended and last.epoch == last.epochs):
        _say(
            model,
            f"--max-seconds ended training in pass {last.epoch} of {last.epochs} over the text",
        )
    return last is None or _version(checkpoint) not in (None, before_the_end)


def _version(path: Path) -> tuple[int, int] | None:
    """Changes when a file is written anew; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _warn_of_little_room(model: Word2Vec, output: Path, checkpoint: Path) -> None:
    """A full disk is better known now than when training is over."""
    words, row = len(model.vocabulary), 4 * model.vector_size
    rows = model.settings.input_rows(words)
    written = rows if formats.format_of(output) == "binary" else words
    for path, needed in ((output, written * row), (checkpoint, (rows + words) * row)):
        if path.exists() and not path.is_file():  # a pipe or a device
            continue
        if (free := shutil.disk_usage(path.parent).free) < needed:
            warnings.warn(
                f"{path} will take about {needed / 1e6:,.3g} MB, and {free / 1e6:,.3g} MB are free "
                "there",
                stacklevel=2,
            )


def _with_remark(error: OSError, remark: str) -> OSError:
    """The error with what to do about it."""
    return type(error)(error.errno, f"{error.strerror}; {remark}", error.filename)


def _rescue(model: Word2Vec, checkpoint: Path) -> str:
    """Keeps a model whose checkpoint could not be written, and says where."""
    with contextlib.suppress(OSError):
        rescued = Path(tempfile.mkdtemp(prefix="fastw2v-"), checkpoint.name)
        model.save(rescued)
        return (
            f"{rescued} holds what was trained: make room, and add --resume --checkpoint {rescued} "
            "to go on"
        )
    if checkpoint.exists():
        return (
            f"{checkpoint} holds what was trained before: make room, and the same command with "
            "--resume goes on"
        )
    return f"what was trained is lost, as there is no room in {tempfile.gettempdir()} either"


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that are on the command line.

    Raises:
        ValueError: One of n-grams is given without --subwords, or one of whole words with it.
    """
    names = itertools.chain(*_GROUPS.values(), _OF_SUBWORDS)
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    for name in given:
        option = "--" + name.replace("_", "-")
        if name in _OF_SUBWORDS and not options.subwords:
            raise ValueError(f"{option} says what n-grams are: it needs --subwords")
        if name in _WORDS_ALONE and options.subwords:
            raise ValueError(f"{option} is for whole words: it does not go with --subwords")
    return given


def _check_settings(model: Word2Vec, given: dict[str, Any], checkpoint: Path) -> None:
    for name, value in given.items():
        if getattr(model, name) != value:
            raise ValueError(
                f"--{name.replace('_', '-')} {value} does not go with --resume: the training in "
                f"{checkpoint} has {getattr(model, name)}"
            )


def _check_free(checkpoint: Path) -> None:
    from fastw2v.word2vec.training import saved_model

    if checkpoint.exists() and not saved_model.is_finished(checkpoint):
        raise ValueError(
            f"{checkpoint} holds a training that was interrupted: --resume goes on with it; delete "
            "it to begin anew"
        )


def _use_threads(number: int) -> None:
    """Gives TensorFlow so many threads. The model takes no more of them than its ``workers``; but
    there may be more than processors, and the two softmax losses take all."""
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != number:
        tf.config.threading.set_intra_op_parallelism_threads(number)


def _read(model: Word2Vec, options: argparse.Namespace) -> TokenCorpus:
    begin = time.monotonic()
    with ProgressLine("reading") as line:

        def report(done: int, total: int | None, words: int) -> None:
            if model.is_chief:
                line.update(done / total if total else None, f"{words:,} words")

        corpus = read_corpus(
            options.corpus,
            cache=options.cache,
            min_count=model.min_count,
            max_vocab_size=model.max_vocab_size,
            max_final_vocab=model.max_final_vocab,
            tokenizer=model.tokenizer,
            workers=model.workers,
            report=report,
        )
    if len(corpus.vocabulary) and corpus.num_tokens == corpus.num_sentences:
        raise ValueError("the text has no two words within one sentence to learn from")
    _say(
        model,
        f"read {corpus.num_words:,} words of {options.corpus} in {time.monotonic() - begin:.0f} s; "
        f"{len(corpus.vocabulary):,} different ones occur at least {model.min_count} times",
    )
    return corpus


def _say(model: Word2Vec, sentence: str) -> None:
    """Prints a sentence; of several workers, the first one does."""
    if model.is_chief:
        print(sentence, flush=True)


def _read_held_out(model: Word2Vec, path: str) -> TokenCorpus:
    held_out = read_corpus(
        path,
        vocabulary=model.vocabulary,
        tokenizer=model.tokenizer,
        workers=model.workers,
    )
    if held_out.num_tokens == held_out.num_sentences:  # before the first pass, not after it
        raise ValueError(
            f"--eval {path}: the text has no two words of the vocabulary within one sentence; give "
            "another part of the text that is trained on, cut into words by the same --tokenizer"
        )
    return held_out
