import numpy as np
import pytest
from matplotlib import image

from fastw2v.word2vec.map import draw_map, spread, tsne
from fastw2v.word2vec.vectors import WordVectors


def clusters(rng, num_clusters, size, width=20):
    centres = rng.normal(size=(num_clusters, 1, width)) * 3
    return (centres + rng.normal(size=(num_clusters, size, width)) * 0.3).reshape(-1, width)


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
    centres = rng.uniform(0, 300, (60, 2))
    centres[:5] = 100  # all in one place
    sizes = rng.uniform([20, 8], [60, 14], (60, 2))
    moved = spread(centres, sizes)
    gaps = np.abs(moved[:, None] - moved) - (sizes[:, None] + sizes) / 2
    gaps[np.diag_indices(60)] = np.inf
    assert gaps.max(axis=2).min() > -1


def test_spread_leaves_free_boxes_alone():
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    np.testing.assert_array_equal(spread(centres, np.full((3, 2), 9.0)), centres)


@pytest.mark.parametrize("num_words", [5, 60])
def test_picture_shows_words(num_words, tmp_path):
    vectors = clusters(np.random.default_rng(0), num_words // 5, 5)
    words = [f"word$_{i}" for i in range(num_words)]  # a formula to matplotlib, were it to look
    draw_map(WordVectors(words, vectors), tmp_path / "map.png", num_words=num_words)
    pixels = image.imread(tmp_path / "map.png")[..., :3]
    assert pixels.shape == (1100, 1600, 3)
    inked = pixels.min(axis=2) < 0.5
    assert 50 * num_words < inked.sum() < 0.2 * inked.size
    assert not inked[[0, -1]].any() and not inked[:, [0, -1]].any()  # no word is cut off
    assert len(np.unique(pixels[inked].round(1), axis=0)) > 5  # colours


def test_too_few_words_to_draw(tmp_path):
    vectors = WordVectors(list("abcd"), np.eye(4))
    with pytest.raises(ValueError, match="there are 4 words to draw; it takes at least 5"):
        draw_map(vectors, tmp_path / "map.png")
