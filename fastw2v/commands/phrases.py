"""`fastw2v phrases`: a text whose phrases are joined to words, to train on."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterable, Iterator

from fastw2v.commands._options import add_corpus, count, number, read_words
from fastw2v.commands._settings import SETTINGS, add_settings
from fastw2v.word2vec.corpus import Phrases, read_sentences
from fastw2v.word2vec.files import check_outputs, replacing
from fastw2v.word2vec.progress import ProgressLine

_EXAMPLES = """\
examples:
  fastw2v phrases corpus.txt --output joined.txt
  fastw2v train joined.txt --output vectors.bin
  fastw2v neighbors vectors.bin new_york

Phrases of three and four words are found in a text whose pairs are joined:
  fastw2v phrases joined.txt --output again.txt
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    phrases = commands.add_parser(
        "phrases",
        help="join the phrases of a text, to train on",
        description="Find words that occur together more often than by chance, such as new york,\n"
        "by the scores of gensim, and write the text with each such pair joined into one word,\n"
        "new_york, a sentence per line. The text is read twice.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_corpus(phrases)
    phrases.add_argument(
        "--output", "-o", required=True, metavar="FILE", help="where the joined text goes"
    )
    add_settings(phrases, [SETTINGS["tokenizer"]])
    phrases.add_argument(
        "--min-count",
        type=count,
        default=5,
        metavar="N",
        help="pairs that occur less often are no phrases (default: 5)",
    )
    phrases.add_argument(
        "--scoring",
        choices=("default", "npmi"),
        default="default",
        help="how a pair is judged: default is the score of word2vec, npmi the normalized "
        "pointwise mutual information, in [-1, 1] (default: default)",
    )
    phrases.add_argument(
        "--threshold",
        type=number(float, -1),
        default=10.0,
        metavar="N",
        help="pairs of a higher score are phrases (default: 10; for npmi give one such as 0.5)",
    )
    phrases.add_argument(
        "--delimiter", default="_", metavar="TEXT", help="stands between the words (default: _)"
    )
    phrases.add_argument(
        "--connector-words",
        metavar="FILE",
        help="a UTF-8 file of words, one on each line, that may stand inside a phrase, such as of "
        "and the in king_of_the_hill",
    )


def run(options: argparse.Namespace) -> None:
    """Does what `fastw2v phrases` says, with its options.

    Raises:
        ImportError, OSError, ValueError: As `read_sentences` and `Phrases`; or the text cannot be
            read twice.
    """
    check_outputs(
        {"--output": options.output},
        {"CORPUS": options.corpus, "--connector-words": options.connector_words},
    )
    if not (os.path.isfile(options.corpus) or os.path.isdir(options.corpus)):
        raise OSError(
            errno.ESPIPE,
            "it can be read only once, and phrases are counted before they are joined: write the "
            "text to a file",
            options.corpus,
        )
    if any(character.isspace() for character in options.delimiter) or not options.delimiter:
        raise ValueError(
            f"--delimiter {options.delimiter!r} must hold characters that are not white space, at "
            "which the joined text is cut into words again"
        )
    connectors = () if options.connector_words is None else read_words(options.connector_words)
    with ProgressLine("counting") as line:
        phrases = Phrases(
            _told(read_sentences(options.corpus, options.tokenizer), line),
            min_count=options.min_count,
            threshold=options.threshold,
            delimiter=options.delimiter,
            scoring=options.scoring,
            connector_words=connectors,
        )
    num_words, num_joined, found = 0, 0, set()
    with ProgressLine("writing") as line, replacing(options.output) as file:
        for sentence in _told(read_sentences(options.corpus, options.tokenizer), line):
            joined = phrases[sentence]
            before = set(sentence)
            new = [word for word in joined if word not in before]
            num_words += len(joined)
            num_joined += len(new)
            found.update(new)
            file.write(" ".join(joined).encode() + b"\n")
    if found:
        print(
            f"{len(found):,} phrases stand {num_joined:,} times among the {num_words:,} words of "
            f"{options.output}"
        )
    else:
        print(
            f"no phrases were found, and {options.output} holds the text as it was: a lower "
            "--threshold or --min-count finds more"
        )


def _told(sentences: Iterable[list[str]], line: ProgressLine) -> Iterator[list[str]]:
    for done, sentence in enumerate(sentences, 1):
        yield sentence
        line.update(None, f"{done:,} sentences")
