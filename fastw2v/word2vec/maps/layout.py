"""Places for words in the plane: similar ones near each other, and labels that do not overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_BLOCK_ELEMENTS = 1 << 17  # of a part of the matrix of pairs: it stays in the second-level cache
_EXAGGERATION = 12.0


def tsne(
    vectors: np.ndarray,
    perplexity: float = 12.0,
    iterations: int = 1000,
    report: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Lays out points in the plane so that near ones stay near: t-SNE.

    Each point is pulled by its 3 x ``perplexity`` nearest points, farther ones being as good as
    none, and pushed by all. Starts from the first two principal components, so that the result
    depends on the vectors alone. Work grows with N^2, memory with N; meant for up to some thousands
    of points.

    Args:
        vectors: ``[N, D]``, N above ``perplexity``.
        perplexity: About how many neighbors each point has, above 1.
        iterations: Steps of gradient descent.
        report: Called after each step with the share of the work that is done.

    Returns:
        float64 ``[N, 2]``, centered at 0.

    Source: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", algorithm 1, with the
    momentum and early exaggeration of section 3.4; the nearest points alone: van der Maaten 2014,
    "Accelerating t-SNE using Tree-Based Algorithms", section 4.1; the learning rate: Belkina et al.
    2019, "Automated optimized parameters for t-distributed stochastic neighbor embedding".
    """
    points = np.asarray(vectors, dtype=np.float64)
    points = points - points.mean(axis=0)
    num_points = len(points)
    neighbors, distances = _nearest(points, min(num_points - 1, int(3 * perplexity)))
    pull = _neighbor_probabilities(distances, perplexity).ravel() / num_points
    near = neighbors.ravel()
    point = np.repeat(np.arange(num_points), neighbors.shape[1])
    _, axes = np.linalg.eigh(points.T @ points)  # the last ones hold most of the variance
    layout = points @ axes[:, :-3:-1]
    if layout.shape[1] < 2:
        layout = np.pad(layout, ((0, 0), (0, 2 - layout.shape[1])))
    layout *= 1e-4 / (layout[:, 0].std() or 1.0)
    velocity = np.zeros_like(layout)
    gains = np.ones_like(layout)
    rate = max(num_points / _EXAGGERATION, 50.0)
    for iteration in range(iterations):
        early = iteration < iterations // 4
        offsets = layout[point] - layout[near]
        strength = pull * (_EXAGGERATION if early else 1) / (1 + (offsets * offsets).sum(axis=1))
        # A pull acts on both ends. That of a pair in both directions counts half each.
        gradient = np.stack(
            [
                np.bincount(point, force, num_points) - np.bincount(near, force, num_points)
                for force in (strength[:, None] * offsets / 2).T
            ],
            axis=1,
        )
        gradient = 4 * (gradient - _push(layout))
        same_way = np.sign(gradient) == np.sign(velocity)
        gains = np.maximum(np.where(same_way, gains * 0.8, gains + 0.2), 0.01)
        velocity = (0.5 if early else 0.8) * velocity - rate * gains * gradient
        layout = layout + velocity
        layout -= layout.mean(axis=0)
        if report is not None:
            report((iteration + 1) / iterations)
    return layout


def _blocks(num_points: int) -> list[slice]:
    size = max(_BLOCK_ELEMENTS // num_points, 1)
    return [slice(begin, begin + size) for begin in range(0, num_points, size)]


def _nearest(points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k other points nearest to each, and their squared distances, [N, k]."""
    squares = (points * points).sum(axis=1)
    neighbors, distances = [], []
    for rows in _blocks(len(points)):
        block = np.maximum(squares[rows, None] + squares - 2 * points[rows] @ points.T, 0)
        block[np.arange(len(block)), np.arange(len(points))[rows]] = np.inf
        nearest = np.argpartition(block, k - 1, axis=1)[:, :k]
        neighbors.append(nearest)
        distances.append(np.take_along_axis(block, nearest, axis=1))
    return np.concatenate(neighbors), np.concatenate(distances)


def _neighbor_probabilities(distances: np.ndarray, perplexity: float) -> np.ndarray:
    """Returns p_j|i of t-SNE, [N, k]; the width of each point's kernel is found by halving."""
    precision = np.ones((len(distances), 1))
    low, high = np.zeros_like(precision), np.full_like(precision, np.inf)
    beyond_nearest = distances - distances.min(axis=1, keepdims=True)
    for _ in range(60):
        kernel = np.exp(-precision * beyond_nearest)
        rows = kernel / kernel.sum(axis=1, keepdims=True)
        entropy = -(rows * np.log(np.where(rows > 0, rows, 1))).sum(axis=1, keepdims=True)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, precision, low), np.where(too_wide, high, precision)
        precision = np.where(np.isinf(high), 2 * precision, (low + high) / 2)
    return rows


def _push(layout: np.ndarray) -> np.ndarray:
    """Returns how far all other points push each one away, [N, 2]."""
    x, y = np.ascontiguousarray(layout.T, dtype=np.float32)
    places = np.stack([x, y, np.ones_like(x)], axis=1)
    total = 0.0
    pushes = []
    for rows in _blocks(len(layout)):
        kernel = x[rows, None] - x
        kernel *= kernel
        other = y[rows, None] - y
        other *= other
        kernel += other
        kernel += 1
        np.reciprocal(kernel, out=kernel)
        total += float(kernel.sum()) - len(kernel)  # without each point itself
        kernel *= kernel
        weighted = kernel @ places
        pushes.append(places[rows, :2] * weighted[:, 2:] - weighted[:, :2])
    return np.concatenate(pushes) / np.float64(max(total, 1e-30))


def spread(
    centers: np.ndarray,
    sizes: np.ndarray,
    iterations: int = 500,
    *,
    within: np.ndarray | None = None,
) -> np.ndarray:
    """Moves boxes as far apart as it takes for none to cover another.

    Args:
        centers: ``[N, 2]``.
        sizes: ``[N, 2]``, width and height of each box.
        iterations: Rounds in which boxes that overlap push each other away.
        within: ``[2]``, width and height of the picture, which no box leaves; None: no bounds.

    Returns:
        ``[N, 2]``, the new centers.
    """
    low, high = (-np.inf, np.inf) if within is None else (sizes / 2, within - sizes / 2)
    centers = np.maximum(np.minimum(centers, high), low)
    room = (sizes[:, None] + sizes) / 2
    for _ in range(iterations):
        offsets = centers[:, None] - centers
        overlap = room - np.abs(offsets)
        overlap[np.diag_indices(len(centers))] = 0
        overlapping = (overlap > 0).all(axis=2)
        if not overlapping.any():
            break
        # Along the axis on which less is missing; the earlier box goes left or down in a tie.
        axis = overlap.argmin(axis=2)
        order = np.sign(np.arange(len(centers))[:, None] - np.arange(len(centers)))
        direction = np.where(offsets == 0, order[..., None], np.sign(offsets))
        push = direction * overlap * 0.25 * overlapping[..., None]
        push *= np.stack([axis == 0, axis == 1], axis=2)
        centers = np.maximum(np.minimum(centers + push.sum(axis=1), high), low)
    return centers
