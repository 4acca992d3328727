import json
import re

import numpy as np
import pytest
from matplotlib import image

from fastw2v.word2vec.map import draw_map, write_map
from fastw2v.word2vec.vectors import WordVectors


def clusters(rng, num_clusters, size, width=20):
    centres = rng.normal(size=(num_clusters, 1, width)) * 3
    return (centres + rng.normal(size=(num_clusters, size, width)) * 0.3).reshape(-1, width)


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


def test_a_page_of_equal_and_few_words(tmp_path):
    vectors = WordVectors(list("abcdef"), np.ones((6, 3)))
    write_map(vectors, tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text(encoding="utf8")
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])
    neighbours = np.reshape(data["neighbours"], (6, 5))
    for row in range(6):  # the others, never the word itself
        assert sorted([row, *neighbours[row].tolist()]) == list(range(6))
    for arguments, message in (
        ({"num_words": 4}, "there are 4 words to draw; it takes at least 5"),
        ({"num_neighbours": 0}, "num_neighbours is 0; it must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_map(vectors, tmp_path / "map.html", **arguments)
