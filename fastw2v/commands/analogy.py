"""`fastw2v analogy`: A is to B as C is to what."""

from __future__ import annotations

import argparse

from fastw2v.commands import _vectors
from fastw2v.commands._options import count


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "analogy",
        help="answer: A is to B as C is to what",
        description="Print the words nearest to B - A + C, which answer the question: A is to B as "
        "C is to what? For example fastw2v analogy vectors.bin man king woman",
        epilog="Formats: " + _vectors.FORMATS,
    )
    _vectors.add_vectors(parser)
    for name in ("a", "b", "c"):
        parser.add_argument(name, metavar=name.upper(), help="word")
    parser.add_argument(
        "--topn", type=count, default=5, metavar="N", help="answers to print (default: 5)"
    )
    _vectors.add_restrict_vocab(parser)


def run(options: argparse.Namespace) -> None:
    """Prints the answers, the best one first."""
    vectors = _vectors.load(options)
    answers = vectors.most_similar(
        positive=[options.b, options.c],
        negative=[options.a],
        topn=options.topn,
        restrict_vocab=options.restrict_vocab,
    )
    print(f"{options.a} is to {options.b} as {options.c} is to")
    _vectors.print_neighbors(answers)
