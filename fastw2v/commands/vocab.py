"""`fastw2v vocab`: the words of a text and how often they occur."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from fastw2v.commands._options import add_corpus
from fastw2v.commands._settings import SETTINGS, add_settings
from fastw2v.word2vec.corpus import read_vocabulary
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.progress import ProgressLine

_EXAMPLES = """\
examples:
  fastw2v vocab corpus.txt --output vocab.txt
  fastw2v vocab books/ --output vocab.txt --min-count 20 --tokenizer words
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    vocab = commands.add_parser(
        "vocab",
        help="count the words of a text",
        description="Count the words of a text and write those that occur often enough to a file,\n"
        "a word and its count on each line, the most frequent first.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_corpus(vocab)
    vocab.add_argument("--output", "-o", required=True, metavar="FILE", help="where the words go")
    names = ("tokenizer", "min_count", "max_final_vocab", "max_vocab_size")
    add_settings(vocab, (SETTINGS[name] for name in names))
    threads = "threads that count (default: one for each processor)"
    add_settings(vocab, [replace(SETTINGS["workers"], help=threads)])


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v vocab` says, with its options.

    Raises:
        ImportError, OSError, ValueError: As `read_vocabulary`; or no word occurs often enough.
    """
    check_outputs({"--output": options.output}, {"CORPUS": options.corpus})
    begin = time.monotonic()
    num_words = 0
    with ProgressLine("counting") as line:

        def report(done: int, total: int | None, words: int) -> None:
            nonlocal num_words
            num_words = words
            line.update(done / total if total else None, f"{words:,} words")

        vocabulary = read_vocabulary(
            options.corpus,
            min_count=options.min_count,
            max_vocab_size=options.max_vocab_size,
            max_final_vocab=options.max_final_vocab,
            tokenizer=options.tokenizer,
            workers=options.workers,
            report=report,
        )
    if not len(vocabulary):
        raise ValueError(
            f"no word of {options.corpus} occurs at least --min-count = {options.min_count} times; "
            f"{num_words:,} were read"
        )
    vocabulary.save(options.output)
    seconds = time.monotonic() - begin
    print(
        f"read {num_words:,} words of {options.corpus} in {seconds:.1f} s; {len(vocabulary):,} "
        f"different ones, {vocabulary.counts.sum() / num_words:.1%} of the text, are in "
        f"{options.output}"
    )
