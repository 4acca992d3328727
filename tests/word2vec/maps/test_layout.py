import numpy as np

from fastw2v.word2vec.maps import layout as layouts
from fastw2v.word2vec.maps.layout import spread, tsne


def clusters(rng, num_clusters, size, width=20):
    centers = rng.normal(size=(num_clusters, 1, width)) * 3
    return (centers + rng.normal(size=(num_clusters, size, width)) * 0.3).reshape(-1, width)


def test_tsne_keeps_clusters_together():
    layout = tsne(clusters(np.random.default_rng(0), 6, 20))
    assert layout.shape == (120, 2) and np.isfinite(layout).all()
    distances = np.linalg.norm(layout[:, None] - layout, axis=2)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_array_equal(distances.argmin(axis=1) // 20, np.arange(120) // 20)
    np.testing.assert_allclose(layout.mean(axis=0), 0, atol=1e-6)


def test_tsne_depends_on_the_vectors_alone():
    points = clusters(np.random.default_rng(1), 3, 5)
    np.testing.assert_array_equal(tsne(points, 4, 50), tsne(points, 4, 50))


def test_tsne_of_equal_points():
    points = np.repeat(clusters(np.random.default_rng(1), 3, 3), 2, axis=0)
    assert np.isfinite(tsne(points, 4, 100)).all()


def test_spread_leaves_no_box_on_another():
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, 300, (60, 2))
    centers[:5] = 100  # all in one place
    sizes = rng.uniform([20, 8], [60, 14], (60, 2))
    moved = spread(centers, sizes)
    gaps = np.abs(moved[:, None] - moved) - (sizes[:, None] + sizes) / 2
    gaps[np.diag_indices(60)] = np.inf
    assert gaps.max(axis=2).min() > -1


def test_spread_leaves_no_box_outside():
    rng = np.random.default_rng(0)
    centers = rng.uniform(0, 300, (60, 2))
    sizes = rng.uniform([20, 8], [60, 14], (60, 2))
    assert (spread(centers, sizes) - sizes / 2).min() < 0
    moved = spread(centers, sizes, within=np.array([360, 300]))
    assert (moved - sizes / 2).min() >= -1e-9
    assert (moved + sizes / 2 <= np.array([360, 300]) + 1e-9).all()
    gaps = np.abs(moved[:, None] - moved) - (sizes[:, None] + sizes) / 2
    gaps[np.diag_indices(60)] = np.inf
    assert gaps.max(axis=2).min() > -2


def test_spread_leaves_free_boxes_alone():
    centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    np.testing.assert_array_equal(spread(centers, np.full((3, 2), 9.0)), centers)


def test_push_is_the_definition(monkeypatch):
    places = np.random.default_rng(0).normal(size=(70, 2)) * 5
    kernel = 1 / (1 + ((places[:, None] - places) ** 2).sum(axis=2))
    np.fill_diagonal(kernel, 0)
    offsets = places[:, None] - places
    expected = (kernel[:, :, None] ** 2 * offsets).sum(axis=1) / kernel.sum()
    for elements in (1, 500, 1 << 17):  # a row, some rows, all rows at once
        monkeypatch.setattr(layouts, "_BLOCK_ELEMENTS", elements)
        np.testing.assert_allclose(layouts._push(places), expected, atol=1e-7)


def test_nearest_is_the_definition(monkeypatch):
    points = np.random.default_rng(0).normal(size=(60, 4))
    distances = ((points[:, None] - points) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    monkeypatch.setattr(layouts, "_BLOCK_ELEMENTS", 500)
    neighbors, found = layouts._nearest(points, 7)
    np.testing.assert_array_equal(
        np.sort(neighbors, axis=1), np.sort(distances.argsort(axis=1)[:, :7], axis=1)
    )
    np.testing.assert_allclose(found, np.take_along_axis(distances, neighbors, axis=1), atol=1e-9)


def test_progress_is_told():
    told = []
    tsne(clusters(np.random.default_rng(1), 3, 5), 4, 4, told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_points_on_a_line():
    places = tsne(np.linspace(0, 1, 12)[:, None], 3, 200)
    assert places.shape == (12, 2) and np.isfinite(places).all()
