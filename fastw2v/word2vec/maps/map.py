"""Maps of words, similar ones near each other: a picture, a page to explore."""

from __future__ import annotations

import html
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.maps.layout import spread, tsne
from fastw2v.word2vec.vectors import WordVectors

_SIZE = np.array([1600, 1100])  # of the picture, in pixels
_MARGIN = np.array([90, 60])
_DPI = 100
_SMALLEST = 1e-9  # extent of a map, where all words have the same vector

_PAGE = Path(__file__).with_name("map.html")
_PLACES = re.compile(r"\{\{\w+\}\}")
_PAGE_UNITS = 10_000  # of the longer side of the page's map
_PAGE_ITERATIONS = 500


def draw_map(
    vectors: WordVectors,
    path: str | os.PathLike[str],
    num_words: int = 200,
    *,
    words: Iterable[str] | None = None,
    leave_out: Iterable[str] = (),
    skip: int = 0,
) -> int:
    """Draws the first words of a table as a PNG, larger the more frequent they are.

    The color only shows the direction from the middle, so that groups differ.

    Args:
        vectors: The words, the most frequent first, and their vectors.
        path: Where to write the picture.
        num_words: How many words to draw; fewer if there are not so many.
        words: Draw only words of this list; None stands for all words of the table. A warning says
            how many of them have no vector.
        leave_out: Words that are not drawn, such as function words.
        skip: How many of the first words of the table are not drawn, at least 0. The most frequent
            words of a text are function words.

    Returns:
        How many words are drawn.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are fewer than 5 words to draw, or ``skip`` is below 0.
        OSError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import hsv_to_rgb
    from matplotlib.figure import Figure

    shown = _shown(vectors, num_words, words, leave_out, skip)
    layout = _places(shown, perplexity=12.0, iterations=1000)
    layout -= layout.min(axis=0)
    layout *= (_SIZE - 2 * _MARGIN) / np.maximum(layout.max(axis=0), _SMALLEST)
    layout += _MARGIN

    figure = Figure(_SIZE / _DPI, dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _SIZE[0]), ylim=(0, _SIZE[1]))
    axes.set_axis_off()
    angles = np.arctan2(*(layout - _SIZE / 2).T) / (2 * np.pi) % 1
    labels = [
        axes.text(
            0,
            0,
            word,
            ha="center",
            va="center",
            parse_math=False,
            fontsize=12 + 10 * (1 - rank / len(shown)) ** 2,
            color=hsv_to_rgb((angles[rank], 0.9, 0.6)),
        )
        for rank, word in enumerate(shown.words)
    ]
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    sizes = np.array([(box.width + 8, box.height + 2) for box in boxes])
    for label, position in zip(labels, spread(layout, sizes, within=_SIZE), strict=True):
        label.set_position(position)
    with replacing(path) as file:
        figure.savefig(file, format="png")
    return len(shown)


def write_map(
    vectors: WordVectors,
    path: str | os.PathLike[str],
    num_words: int = 2000,
    *,
    words: Iterable[str] | None = None,
    leave_out: Iterable[str] = (),
    skip: int = 0,
    num_neighbors: int = 10,
    title: str = "Map of words",
    report: Callable[[float], None] | None = None,
) -> int:
    """Writes a page on which the first words of a table can be explored in a browser.

    It can be moved, zoomed and searched, and shows the nearest neighbors of a word among the words
    that are on it; `WordVectors.most_similar` looks among all. The page is one file and asks for
    nothing else, from the network or the disk. A few thousand words are drawn smoothly; their
    places take time that grows with the square of their number, 2,000 some ten seconds.

    Args:
        vectors: The words, the most frequent first, and their vectors.
        path: Where to write the page.
        num_words: How many words to show; fewer if there are not so many.
        words, leave_out, skip: Which words are shown, as for `draw_map`.
        num_neighbors: How many nearest neighbors to show of each, among the words shown.
        title: Stands above the map.
        report: Called now and then with the share of the work that is done.

    Returns:
        How many words are shown.

    Raises:
        ValueError: There are fewer than 5 words to show, ``num_neighbors`` is below 1 or ``skip``
            below 0.
        OSError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> words = "the of red green blue one two three".split()
        >>> table = WordVectors(words, np.random.default_rng(0).normal(size=(8, 4)))
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     write_map(table, f"{directory}/map.html", leave_out=["the", "of"])
        6
    """
    if num_neighbors < 1:
        raise ValueError(f"num_neighbors is {num_neighbors}; it must be at least 1")
    shown = _shown(vectors, num_words, words, leave_out, skip)
    layout = _places(shown, 20.0, _PAGE_ITERATIONS, report)
    layout -= layout.min(axis=0)
    layout *= _PAGE_UNITS / max(layout.max(), _SMALLEST)
    x, y = layout.round().astype(int).T.tolist()
    rows, cosines = _neighbors(shown, min(num_neighbors, len(shown) - 1))
    data = {
        "title": title,
        "words": shown.words,
        "x": x,
        "y": y,
        "counts": None if shown.counts is None else shown.counts.tolist(),
        "neighbors": rows.ravel().tolist(),
        "cosines": (1000 * cosines).round().astype(int).ravel().tolist(),
    }
    # "<" would let a word end the element that holds the data.
    encoded = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    # In one pass: a title or a word may look like such a place itself.
    parts = {"{{title}}": html.escape(title), "{{data}}": encoded}
    page = _PLACES.sub(lambda place: parts[place[0]], _PAGE.read_text(encoding="utf8"))
    with replacing(path) as file:
        file.write(page.encode("utf8", "replace"))
    return len(shown)


def _shown(
    vectors: WordVectors,
    num_words: int,
    words: Iterable[str] | None,
    leave_out: Iterable[str],
    skip: int,
) -> WordVectors:
    """Returns the words that are on the map, the most frequent first."""
    if skip < 0:
        raise ValueError(f"skip is {skip}; it must be at least 0")
    wanted = None if words is None else set(words)
    left_out = set(leave_out)
    rows = [
        row
        for row, word in enumerate(vectors.words)
        if row >= skip and word not in left_out and (wanted is None or word in wanted)
    ][:num_words]
    if wanted is not None and (unknown := wanted.difference(vectors.words)):
        warnings.warn(
            f"{len(unknown):,} of the {len(wanted):,} words to show have no vector, for example "
            f"{min(unknown)!r}",
            stacklevel=3,
        )
    if len(rows) < 5:
        raise ValueError(f"there are {len(rows)} words to draw; at least 5 are needed")
    counts = None if vectors.counts is None else vectors.counts[rows]
    return WordVectors([vectors.words[row] for row in rows], vectors.vectors[rows], counts)


def _places(
    shown: WordVectors,
    perplexity: float,
    iterations: int,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Returns the places of the words, float64 [N, 2]."""
    return tsne(
        shown.normalized(slice(len(shown))), min(perplexity, len(shown) / 4), iterations, report
    )


def _neighbors(shown: WordVectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k nearest of the words to each of them, and their cosines, [N, k]."""
    cosines, rows = shown.nearest(shown.vectors, k + 1)
    # The word itself is left out; among equal vectors it may be missing, and then the last one is.
    others = rows != np.arange(len(shown))[:, None]
    others[others.all(axis=1), -1] = False
    return rows[others].reshape(-1, k), cosines[others].reshape(-1, k)
