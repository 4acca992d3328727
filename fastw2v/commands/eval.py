"""`fastw2v eval`: how good word vectors are."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

from fastw2v.commands import _vectors

_PAIRS = ("wordsim353.tsv", "simlex999.txt")
_ANALOGIES = ("questions-words.txt",)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "eval",
        help="measure how good word vectors are",
        description="Compare word vectors with similarities as people judge them (pairs of words) "
        "and let them answer analogies. Without --pairs and --analogies, WordSim-353, SimLex-999 "
        "and questions-words are taken from the package of gensim, where it is installed. Results "
        "are those of gensim.",
        epilog="Formats of VECTORS: " + _vectors.FORMATS,
    )
    _vectors.add_vectors(parser)
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        action="append",
        default=[],
        help="two words and a number on each line, separated by tabs; may be repeated",
    )
    parser.add_argument(
        "--analogies",
        metavar="FILE",
        action="append",
        default=[],
        help="four words on each line, and lines ': name' before each section; may be repeated",
    )
    _vectors.add_restrict_vocab(parser, 300_000)
    parser.add_argument(
        "--case-sensitive",
        action="store_true",
        help="take words as they are spelled, rather than in upper case",
    )


def run(options: argparse.Namespace) -> None:
    """Prints correlations and shares of right answers."""
    pairs, analogies = options.pairs, options.analogies
    if not pairs and not analogies:
        pairs, analogies = _files_of_gensim()
    for path in (*pairs, *analogies):
        open(path, "rb").close()  # a wrong name is an error before minutes of reading
    vectors = _vectors.load(options)
    print(f"{options.vectors}: {len(vectors):,} words of width {vectors.vector_size}")
    how = {
        "restrict_vocab": options.restrict_vocab,
        "case_insensitive": not options.case_sensitive,
    }
    if pairs:
        width = max(len(Path(path).name) for path in pairs)
        print(f"{'pairs of words':{width}}  Spearman  Pearson  unknown")
        for path in pairs:
            found = vectors.evaluate_word_pairs(path, **how)
            print(
                f"{Path(path).name:{width}}  {found.spearman.statistic:8.3f}  "
                f"{found.pearson.statistic:7.3f}  {found.oov_ratio:6.1f}%"
            )
    for path in analogies:
        _, sections = vectors.evaluate_word_analogies(path, **how)
        width = max(len(section["section"]) for section in sections)
        print(f"{Path(path).name:{width}}   right       of")
        for section in sections:
            right, wrong = len(section["correct"]), len(section["incorrect"])
            share = f"{right / (right + wrong):7.1%}" if right + wrong else "      -"
            print(f"{section['section']:{width}} {share}  {right + wrong:7,}")


def _files_of_gensim() -> tuple[list[str], list[str]]:
    spec = importlib.util.find_spec("gensim")
    if spec is not None and spec.origin is not None:
        directory = Path(spec.origin).parent / "test" / "test_data"
        found = [
            [str(directory / name) for name in names if (directory / name).is_file()]
            for names in (_PAIRS, _ANALOGIES)
        ]
        if any(found):
            return found[0], found[1]
    raise ValueError(
        "no test files: give --pairs FILE or --analogies FILE, or install gensim, which brings "
        "WordSim-353, SimLex-999 and questions-words"
    )
