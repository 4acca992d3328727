"""`fastw2v map`: words on a map, as a page or a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastw2v.commands import _vectors
from fastw2v.commands._options import count, number, read_words
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.maps import draw_map, write_map
from fastw2v.word2vec.progress import ProgressLine
from fastw2v.word2vec.vectors import WordVectors

_PAGE_WORDS = 2000
_PICTURE_WORDS = 200


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "map",
        help="draw a map of the most frequent words",
        description="Draw a map on which similar words lie near each other: a page for a browser, "
        "to move, zoom and search (one file, which needs no network), or a picture: fastw2v map "
        "vectors.bin --output map.html. The page shows the nearest neighbors of a word among the "
        "words that are on it; fastw2v neighbors looks among all.",
        epilog="Formats of VECTORS: " + _vectors.FORMATS,
    )
    _vectors.add_vectors(parser)
    parser.add_argument(
        "--output",
        "-o",
        default="map.html",
        metavar="FILE",
        help="where to write the map: a page if the name ends in .html, a picture if in .png "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--words",
        type=count,
        metavar="N",
        help=f"how many of the most frequent words (default: {_PAGE_WORDS} on a page, "
        f"{_PICTURE_WORDS} in a picture); the time grows with the square",
    )
    parser.add_argument(
        "--skip",
        type=number(int, 0),
        default=0,
        metavar="N",
        help="leave out the N most frequent words, most of them function words (default: 0)",
    )
    parser.add_argument(
        "--leave-out",
        metavar="FILE",
        help="leave out the words of a UTF-8 file, one on each line",
    )
    parser.add_argument(
        "--only", metavar="FILE", help="show only words of a UTF-8 file, one on each line"
    )
    parser.add_argument(
        "--title", metavar="TEXT", help="title of the page (default: the name of VECTORS)"
    )


def run(options: argparse.Namespace) -> None:
    """Writes the map."""
    suffix = Path(options.output).suffix.lower()
    if suffix not in (".html", ".png"):
        raise ValueError(f"--output {options.output} ends neither in .html nor in .png")
    check_outputs(
        {"--output": options.output},
        {"VECTORS": options.vectors, "--leave-out": options.leave_out, "--only": options.only},
    )
    which = {
        "words": None if options.only is None else read_words(options.only),
        "leave_out": () if options.leave_out is None else read_words(options.leave_out),
        "skip": options.skip,
    }
    vectors = _vectors.load(options)
    num_words = options.words or (_PAGE_WORDS if suffix == ".html" else _PICTURE_WORDS)
    with ProgressLine("drawing") as line:

        def report(done: float) -> None:
            line.update(done, f"{num_words:,} words")

        if suffix == ".html":
            title = Path(options.vectors).name if options.title is None else options.title
            num_shown = write_map(
                vectors, options.output, num_words, title=title, report=report, **which
            )
        else:
            num_shown = _draw(vectors, options.output, num_words, which)
    print(f"{num_shown:,} words on a map: {options.output}")


def _draw(vectors: WordVectors, path: str, num_words: int, which: dict[str, Any]) -> int:
    try:
        return draw_map(vectors, path, num_words, **which)
    except ImportError as error:
        raise ImportError(
            f"{error}; a picture needs matplotlib, which pip install 'fastw2v[demo]' brings; "
            "--output map.html does not"
        ) from error
