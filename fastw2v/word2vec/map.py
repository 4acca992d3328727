"""Maps of the most frequent words, similar ones near each other: a picture, a page to explore."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.layout import spread, tsne
from fastw2v.word2vec.vectors import WordVectors

_SIZE = np.array([1600, 1100])  # of the picture, in pixels
_MARGIN = np.array([90, 60])
_DPI = 100
_SMALLEST = 1e-9  # extent of a map, where all words have the same vector

_PAGE = Path(__file__).with_name("map.html")
_PAGE_UNITS = 10_000  # of the longer side of the page's map
_PAGE_ITERATIONS = 500


def _places(
    vectors: WordVectors,
    num_words: int,
    perplexity: float,
    iterations: int,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Returns the places of the first words, float64 [N, 2]."""
    num_words = min(num_words, len(vectors))
    if num_words < 5:
        raise ValueError(f"there are {num_words} words to draw; it takes at least 5")
    return tsne(
        vectors.normalized(slice(num_words)),
        min(perplexity, num_words / 4),
        iterations,
        report,
    )


def draw_map(vectors: WordVectors, path: str | Path, num_words: int = 200) -> None:
    """Draws the first words of a table as a PNG, larger the more frequent they are.

    The colour only shows the direction from the middle, to tell groups apart.

    Args:
        vectors: The words, the most frequent first, and their vectors.
        path: Where to write the picture.
        num_words: How many words to draw; fewer if there are not so many.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are fewer than 5 words.
        OSError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import hsv_to_rgb
    from matplotlib.figure import Figure

    words = vectors.words[:num_words]
    layout = _places(vectors, num_words, perplexity=12.0, iterations=1000)
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
            fontsize=12 + 10 * (1 - rank / len(words)) ** 2,
            color=hsv_to_rgb((angles[rank], 0.9, 0.6)),
        )
        for rank, word in enumerate(words)
    ]
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in labels]
    sizes = np.array([(box.width + 8, box.height + 2) for box in boxes])
    for label, position in zip(labels, spread(layout, sizes), strict=True):
        label.set_position(position)
    with replacing(path) as file:
        figure.savefig(file, format="png")


def write_map(
    vectors: WordVectors,
    path: str | Path,
    num_words: int = 2000,
    *,
    num_neighbours: int = 10,
    title: str = "Map of words",
    report: Callable[[float], None] | None = None,
) -> None:
    """Writes a page on which the first words of a table can be explored in a browser.

    It can be moved, zoomed and searched, and shows the nearest neighbours of a word. The page is
    one file and asks for nothing else, from the network or the disk. A few thousand words are drawn
    smoothly; their places take time that grows with the square of their number, 2,000 some ten
    seconds.

    Args:
        vectors: The words, the most frequent first, and their vectors.
        path: Where to write the page.
        num_words: How many words to show; fewer if there are not so many.
        num_neighbours: How many nearest neighbours to show of each, of the words shown.
        title: Stands above the map.
        report: Called now and then with the share of the work that is done.

    Raises:
        ValueError: There are fewer than 5 words, or no neighbours are asked for.
        OSError: The file cannot be written.
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours is {num_neighbours}; it must be at least 1")
    layout = _places(vectors, num_words, 20.0, _PAGE_ITERATIONS, report)
    words = vectors.words[:num_words]
    layout -= layout.min(axis=0)
    layout *= _PAGE_UNITS / max(layout.max(), _SMALLEST)
    x, y = layout.round().astype(int).T.tolist()
    rows, cosines = _neighbours(vectors, len(words), min(num_neighbours, len(words) - 1))
    data = {
        "title": title,
        "words": words,
        "x": x,
        "y": y,
        "counts": None if vectors.counts is None else vectors.counts[:num_words].tolist(),
        "neighbours": rows.ravel().tolist(),
        "cosines": (1000 * cosines).round().astype(int).ravel().tolist(),
    }
    # "<" would let a word end the element that holds the data.
    encoded = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    page = _PAGE.read_text(encoding="utf8")
    page = page.replace("{{title}}", html.escape(title), 1).replace("{{data}}", encoded, 1)
    with replacing(path) as file:
        file.write(page.encode("utf8", "replace"))


def _neighbours(vectors: WordVectors, num_words: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k nearest of the first words to each of them, and their cosines, [N, k]."""
    cosines, rows = vectors.nearest(vectors.vectors[:num_words], k + 1, num_words)
    # The word itself is left out; among equal vectors it may be missing, and then the last one is.
    others = rows != np.arange(num_words)[:, None]
    others[others.all(axis=1), -1] = False
    return rows[others].reshape(num_words, k), cosines[others].reshape(num_words, k)
