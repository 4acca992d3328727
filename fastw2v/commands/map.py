"""`fastw2v map`: the most frequent words on a map, as a page or a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastw2v.commands import _vectors
from fastw2v.commands._options import count
from fastw2v.word2vec.map import draw_map, write_map
from fastw2v.word2vec.progress import ProgressLine

_PAGE_WORDS = 2000
_PICTURE_WORDS = 200


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "map",
        help="draw a map of the most frequent words",
        description="Draw a map on which similar words lie near each other: a page for a browser, "
        "to move, zoom and search (one file, which needs no network), or a picture: fastw2v map "
        "vectors.bin --output map.html",
        epilog="Formats of VECTORS: " + _vectors.FORMATS,
    )
    _vectors.add_vectors(parser)
    parser.add_argument(
        "--output",
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
        "--title", metavar="TEXT", help="title of the page (default: the name of VECTORS)"
    )


def run(options: argparse.Namespace) -> None:
    """Writes the map."""
    suffix = Path(options.output).suffix.lower()
    if suffix not in (".html", ".png"):
        raise ValueError(f"--output {options.output} ends neither in .html nor in .png")
    vectors = _vectors.load(options)
    num_words = options.words or (_PAGE_WORDS if suffix == ".html" else _PICTURE_WORDS)
    with ProgressLine("drawing") as line:

        def report(done: float) -> None:
            line.update(done, f"{num_words:,} words")

        if suffix == ".html":
            title = Path(options.vectors).name if options.title is None else options.title
            write_map(vectors, options.output, num_words, title=title, report=report)
        else:
            _draw(vectors, options.output, num_words)
    print(f"{min(num_words, len(vectors)):,} words on a map: {options.output}")


def _draw(vectors: _vectors.WordVectors, path: str, num_words: int) -> None:
    try:
        draw_map(vectors, path, num_words)
    except ImportError as error:
        raise ImportError(
            f"{error}; a picture needs matplotlib, which pip install 'fastw2v[demo]' brings; "
            "--output map.html does not"
        ) from error
