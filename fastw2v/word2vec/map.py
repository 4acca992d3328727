"""A picture of the most frequent words, similar ones near each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastw2v.word2vec.vectors import WordVectors

_SIZE = np.array([1600, 1100])  # of the picture, in pixels
_MARGIN = np.array([90, 60])
_DPI = 100


def tsne(vectors: np.ndarray, perplexity: float = 12.0, iterations: int = 1000) -> np.ndarray:
    """Lays out points in the plane so that near ones stay near: exact t-SNE.

    Starts from the first two principal components, so that the result depends on the vectors
    alone. Work and memory grow with N^2; meant for a few hundred points.

    Args:
        vectors: ``[N, D]``, N above ``perplexity``.
        perplexity: About how many neighbours each point has, above 1.
        iterations: Steps of gradient descent.

    Returns:
        float64 ``[N, 2]``, centred at 0.

    Source: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", algorithm 1, with the
    momentum and early exaggeration of section 3.4.
    """
    points = np.asarray(vectors, dtype=np.float64)
    points = points - points.mean(axis=0)
    joint = _neighbour_probabilities(_squared_distances(points), perplexity)
    left, singular, _ = np.linalg.svd(points, full_matrices=False)
    layout = left[:, :2] * singular[:2]
    layout *= 1e-4 / layout[:, 0].std()
    velocity = np.zeros_like(layout)
    gains = np.ones_like(layout)
    for iteration in range(iterations):
        early = iteration < iterations // 4
        kernel = 1 / (1 + _squared_distances(layout))
        np.fill_diagonal(kernel, 0)
        pull = ((12 if early else 1) * joint - kernel / kernel.sum()) * kernel
        gradient = 4 * (pull.sum(axis=1)[:, None] * layout - pull @ layout)
        same_way = np.sign(gradient) == np.sign(velocity)
        gains = np.maximum(np.where(same_way, gains * 0.8, gains + 0.2), 0.01)
        velocity = (0.5 if early else 0.8) * velocity - 50 * gains * gradient
        layout = layout + velocity
        layout -= layout.mean(axis=0)
    return layout


def _squared_distances(points: np.ndarray) -> np.ndarray:
    squares = (points * points).sum(axis=1)
    return np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)


def _neighbour_probabilities(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Returns the symmetric p_ij of t-SNE; the width of each point's kernel is found by halving."""
    precision = np.ones((len(distances), 1))
    low, high = np.zeros_like(precision), np.full_like(precision, np.inf)
    others = ~np.eye(len(distances), dtype=bool)
    nearest = np.where(others, distances, np.inf).min(axis=1, keepdims=True)
    for _ in range(60):
        kernel = np.exp(-precision * (distances - nearest)) * others
        rows = kernel / kernel.sum(axis=1, keepdims=True)
        entropy = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=1, keepdims=True)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        precision = np.where(np.isinf(high), 2 * precision, (low + high) / 2)
    return (rows + rows.T) / (2 * len(rows))


def spread(centres: np.ndarray, sizes: np.ndarray, iterations: int = 500) -> np.ndarray:
    """Moves boxes as far apart as it takes for none to cover another.

    Args:
        centres: ``[N, 2]``.
        sizes: ``[N, 2]``, width and height of each box.
        iterations: Rounds in which boxes that overlap push each other away.

    Returns:
        ``[N, 2]``, the new centres.
    """
    centres = centres.copy()
    room = (sizes[:, None] + sizes) / 2
    for _ in range(iterations):
        offsets = centres[:, None] - centres
        overlap = room - np.abs(offsets)
        overlap[np.diag_indices(len(centres))] = 0
        overlapping = (overlap > 0).all(axis=2)
        if not overlapping.any():
            break
        # Along the axis on which less is missing; the earlier box goes left or down in a tie.
        axis = overlap.argmin(axis=2)
        order = np.sign(np.arange(len(centres))[:, None] - np.arange(len(centres)))
        direction = np.where(offsets == 0, order[..., None], np.sign(offsets))
        push = direction * overlap * 0.25 * overlapping[..., None]
        push *= np.stack([axis == 0, axis == 1], axis=2)
        centres += push.sum(axis=1)
    return centres


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
    if len(words) < 5:
        raise ValueError(f"there are {len(words)} words to draw; it takes at least 5")
    layout = tsne(vectors.normalized(slice(num_words)), perplexity=min(12.0, len(words) / 4))
    layout -= layout.min(axis=0)
    layout *= (_SIZE - 2 * _MARGIN) / layout.max(axis=0)
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
    figure.savefig(path, format="png")
