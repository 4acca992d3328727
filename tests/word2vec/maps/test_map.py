import json
import re

import numpy as np
import pytest
from matplotlib import image

from fastw2v.word2vec.maps import draw_map, write_map
from fastw2v.word2vec.vectors import WordVectors


def clusters(rng, num_clusters, size, width=20):
    centers = rng.normal(size=(num_clusters, 1, width)) * 3
    return (centers + rng.normal(size=(num_clusters, size, width)) * 0.3).reshape(-1, width)


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
    assert len(np.unique(pixels[inked].round(1), axis=0)) > 5  # colors


def test_too_few_words_to_draw(tmp_path):
    vectors = WordVectors(list("abcd"), np.eye(4))
    with pytest.raises(ValueError, match="there are 4 words to draw; at least 5 are needed"):
        draw_map(vectors, tmp_path / "map.png")


def test_a_page_of_equal_and_few_words(tmp_path):
    vectors = WordVectors(list("abcdef"), np.ones((6, 3)))
    write_map(vectors, tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text(encoding="utf8")
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])
    neighbors = np.reshape(data["neighbors"], (6, 5))
    for row in range(6):  # the others, never the word itself
        assert sorted([row, *neighbors[row].tolist()]) == list(range(6))
    for arguments, message in (
        ({"num_words": 4}, "there are 4 words to draw; at least 5 are needed"),
        ({"num_neighbors": 0}, "num_neighbors is 0; it must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_map(vectors, tmp_path / "map.html", **arguments)


def content(path):
    text = path.read_text(encoding="utf8")
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])


def test_which_words_are_shown(tmp_path):
    matrix = clusters(np.random.default_rng(0), 4, 5)
    table = WordVectors(list("abcdefghijklmnopqrst"), matrix, np.arange(20, 0, -1))
    page = tmp_path / "map.html"
    assert write_map(table, page, 6, skip=2, leave_out=["e", "z"], num_neighbors=2) == 6
    data = content(page)
    assert data["words"] == list("cdfghi") and data["counts"] == [18, 17, 15, 14, 13, 12]
    # Of the words shown only: c and d are the rest of the first group, f to i of the second.
    nearest = np.reshape(data["neighbors"], (6, 2))
    assert nearest[0, 0] == 1 and nearest[1, 0] == 0
    assert all(set(row) < {2, 3, 4, 5} for row in nearest[2:].tolist())
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    assert data["cosines"][0] == round(1000 * float(units[2] @ units[3]))

    with pytest.warns(UserWarning, match="2 of the 7 words to show have no vector.*'y'"):
        assert write_map(table, page, words=list("tsyzaqc")) == 5
    assert content(page)["words"] == list("acqst")
    assert draw_map(table, tmp_path / "map.png", words=table.words, skip=13) == 7
    with pytest.raises(ValueError, match="skip is -1; it must be at least 0"):
        write_map(table, page, skip=-1)
    with pytest.raises(ValueError, match="there are 1 words to draw; at least 5 are needed"):
        draw_map(table, tmp_path / "map.png", words=["a"])


def test_a_title_that_looks_like_a_part_of_the_page(tmp_path):
    table = WordVectors(["{{title}}", *"abcde"], np.random.default_rng(0).normal(size=(6, 3)))
    write_map(table, tmp_path / "map.html", title="{{data}}")
    assert "<title>{{data}}</title>" in (tmp_path / "map.html").read_text(encoding="utf8")
    data = content(tmp_path / "map.html")
    assert data["title"] == "{{data}}" and data["words"][0] == "{{title}}"
