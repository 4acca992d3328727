"""The page with a map of words, used in a real browser as a person uses it."""

import io
import json
import re

import numpy as np
import pytest
from browser import PROGRAMS, Browser, find_browser
from matplotlib import image

from fastw2v.word2vec.maps import map as maps
from fastw2v.word2vec.maps import write_map
from fastw2v.word2vec.vectors import WordVectors

PROGRAM = find_browser()
needs_browser = pytest.mark.skipif(
    PROGRAM is None, reason="no browser was found: none of " + ", ".join(PROGRAMS)
)
STRANGE = ["</script><b>bold", "<!--", "&amp;", "{{title}}", "naïve", "日本語", "عربى", "a" * 60]


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(12, 20)) * 2
    matrix = centers[rng.integers(12, size=400)] + rng.normal(size=(400, 20))
    words = [f"w{number:03}" for number in range(400 - len(STRANGE))] + STRANGE
    return WordVectors(words, matrix, np.arange(4000, 3600, -1))


@pytest.fixture(scope="module")
def page(vectors, tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "map.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "_PAGE_ITERATIONS", 100)
        write_map(vectors, path, title="Words & <others>")
    return path


@pytest.fixture(scope="module")
def shared_browser(page, tmp_path_factory):
    with Browser(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser, page):
    shared_browser.problems.clear()
    shared_browser.requests.clear()
    shared_browser.resize(1200, 800)
    features = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    features.append({"name": "prefers-color-scheme", "value": "light"})
    shared_browser.call("Emulation.setEmulatedMedia", features=features)
    shared_browser.mouse("Moved", 0, 799)
    shared_browser.open(page.as_uri())
    shared_browser.wait_for("window.wordMap && wordMap.labels.length > 0")
    yield shared_browser
    assert shared_browser.problems == []
    assert set(shared_browser.requests) == {page.as_uri()}  # nothing else is asked for


def settle(browser):
    browser.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
    )


def labels(browser):
    settle(browser)
    return {label["word"]: label["box"] for label in browser.evaluate("wordMap.labels")}


def position(browser, word):
    return browser.evaluate(f"wordMap.position({json.dumps(word)})")


def test_the_page_is_one_file_and_holds_the_words(page, vectors):
    text = page.read_text(encoding="utf8")
    assert "<title>Words &amp; &lt;others&gt;</title>" in text
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])
    assert data["words"] == vectors.words and data["counts"] == vectors.counts.tolist()
    assert min(data["x"]) == min(data["y"]) == 0
    assert max(*data["x"], *data["y"]) == 10_000
    neighbors = np.reshape(data["neighbors"], (400, 10))
    for row in (0, 7, 399):
        expected = vectors.most_similar(row, topn=10)
        assert [vectors.words[other] for other in neighbors[row]] == [word for word, _ in expected]
        cosines = np.reshape(data["cosines"], (400, 10))[row] / 1000
        np.testing.assert_allclose(cosines, [cosine for _, cosine in expected], atol=6e-4)
    assert not re.search(r'(src|href)="(?!data:)', text) and "url(" not in text
    assert not re.search(r"https?://", text)


def test_a_title_that_looks_like_a_part_of_the_page(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "_PAGE_ITERATIONS", 2)
    path = tmp_path / "map.html"
    write_map(vectors, path, 20, title="{{data}} {{title}} {{other}}")
    text = path.read_text(encoding="utf8")
    assert "<title>{{data}} {{title}} {{other}}</title>" in text
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text)[1])
    assert data["title"] == "{{data}} {{title}} {{other}}" and data["words"] == vectors.words[:20]


@needs_browser
def test_labels_do_not_overlap_and_more_come_when_one_looks_closer(browser):
    whole = browser.evaluate("wordMap.view.scale")
    numbers = []
    for _ in range(4):
        boxes = np.array(list(labels(browser).values()))
        apart = (boxes[:, None, :2] >= boxes[:, 2:]) | (boxes[:, None, 2:] <= boxes[:, :2])
        overlap = ~apart.any(axis=2)
        np.fill_diagonal(overlap, False)
        assert not overlap.any()
        area = browser.evaluate("wordMap.view.scale") / whole
        numbers.append(len(boxes) * area**2)  # as many as there would be on the whole map
        browser.mouse("Wheel", 700, 400, deltaX=0, deltaY=-240)
    assert numbers == sorted(numbers) and numbers[-1] > 1.5 * numbers[0]
    words = list(labels(browser))
    assert words == sorted(words, key=lambda word: (word in STRANGE, word))  # frequent ones first


@needs_browser
def test_the_wheel_zooms_where_the_mouse_is(browser):
    word = next(iter(labels(browser)))
    x, y = position(browser, word)
    scale = browser.evaluate("wordMap.view.scale")
    browser.mouse("Wheel", x, y, deltaX=0, deltaY=-120)
    settle(browser)
    assert browser.evaluate("wordMap.view.scale") > 1.2 * scale
    np.testing.assert_allclose(position(browser, word), [x, y], atol=0.5)  # whole pixels count
    for _ in range(60):  # ends somewhere
        browser.mouse("Wheel", x, y, deltaX=0, deltaY=1000)
    settle(browser)
    assert browser.evaluate("wordMap.view.scale") == pytest.approx(0.4 * scale)


@needs_browser
def test_drag_buttons_and_keys_move_the_map(browser):
    start = position(browser, "w000")
    browser.drag(800, 700, 700, 640)
    np.testing.assert_allclose(position(browser, "w000"), np.subtract(start, [100, 60]), atol=1e-6)
    assert browser.evaluate("document.getElementById('hint').classList.contains('known')")
    browser.press("ArrowLeft")
    np.testing.assert_allclose(position(browser, "w000"), np.subtract(start, [20, 60]), atol=1e-6)
    browser.press("0")
    np.testing.assert_allclose(position(browser, "w000"), start, atol=1e-6)
    scale = browser.evaluate("wordMap.view.scale")
    for button, factor in (("in", 1.6), ("out", 1.0), ("in", 1.6), ("fit", 1.0)):
        x, y = browser.evaluate(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])(document.getElementById('{button}')"
            ".getBoundingClientRect())"
        )
        browser.click(x, y)
        assert browser.evaluate("wordMap.view.scale") == pytest.approx(factor * scale)


@needs_browser
def test_two_fingers_pinch(browser):
    browser.resize(500, 800, 2, touch=True)
    settle(browser)
    scale = browser.evaluate("wordMap.view.scale")
    browser.touch("Start", (200, 400), (300, 400))
    for apart in (60, 80, 100):
        browser.touch("Move", (250 - apart, 400), (250 + apart, 400))
    browser.touch("End")
    settle(browser)
    assert browser.evaluate("wordMap.view.scale") == pytest.approx(2 * scale, rel=0.1)
    assert browser.evaluate("wordMap.focus") is None


def panel(browser):
    return browser.evaluate(
        "(p => p.hidden ? null : [p.querySelector('h2').textContent, p.querySelector('p')"
        ".textContent, [...p.querySelectorAll('li b')].map(b => b.textContent)])"
        "(document.getElementById('word'))"
    )


@needs_browser
def test_pointing_at_a_word_shows_its_neighbors(browser, vectors):
    word, box = list(labels(browser).items())[5]
    expected = [other for other, _ in vectors.most_similar(word)]
    assert panel(browser) is None
    browser.mouse("Moved", (box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    row = vectors.index[word]
    assert panel(browser) == [
        word,
        f"{4000 - row:,} times, word {row + 1} of 400; nearest among these:",
        expected,
    ]
    assert word in labels(browser)
    browser.mouse("Moved", 1190, 5)
    assert panel(browser) is None
    browser.click((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    browser.mouse("Moved", 1190, 5)
    assert panel(browser)[0] == word  # a click keeps it
    browser.press("Escape")
    assert panel(browser) is None


@needs_browser
@pytest.mark.parametrize("word", ["w123", STRANGE[0], "日本語"])
def test_searching_a_word_goes_there(word, browser, vectors):
    browser.press("/")
    browser.type(word[:-1])
    found = "[...document.querySelectorAll('#found b')].map(b => b.textContent)"
    similar = [other for other in vectors.words if other.startswith(word[:-1])]
    assert browser.evaluate(found) == similar[:8]
    for _ in range(similar.index(word)):
        browser.press("ArrowDown")
    browser.press("Enter")
    settle(browser)
    assert browser.evaluate("wordMap.focus") == word
    assert panel(browser)[2] == [other for other, _ in vectors.most_similar(word)]
    labeled = set(labels(browser)) & set(panel(browser)[2])
    assert word in labels(browser) and len(labeled) > 3
    x, y = position(browser, word)
    assert 285 < x < 1200 and y == pytest.approx(400, abs=1)
    assert browser.evaluate("document.querySelectorAll('#side script, #side h2 b').length") == 0
    browser.evaluate("document.querySelector('#near button').click()")
    assert browser.evaluate("wordMap.focus") == vectors.most_similar(word)[0][0]


@needs_browser
def test_a_word_that_is_not_there(browser):
    browser.press("/")
    browser.type("nowhere")
    text = browser.evaluate("document.getElementById('found').textContent")
    assert text == "not among the words of this map"
    browser.press("Enter")
    assert browser.evaluate("wordMap.focus") is None


@needs_browser
def test_light_and_dark(browser):
    def ground():
        settle(browser)
        return image.imread(io.BytesIO(browser.screenshot()))[2, 2, :3]

    assert ground().min() > 0.8
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", features=features)
    assert ground().max() < 0.2
    browser.evaluate("document.getElementById('theme').click()")
    assert ground().min() > 0.8


@needs_browser
def test_a_few_thousand_words_are_drawn_quickly(browser, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    many = WordVectors([f"word{number}" for number in range(5000)], rng.normal(size=(5000, 8)))
    monkeypatch.setattr(maps, "tsne", lambda vectors, *_: vectors[:, :2].astype(np.float64))
    write_map(many, tmp_path / "many.html")
    path = tmp_path / "many.html"
    browser.open(path.as_uri())
    browser.wait_for("window.wordMap && wordMap.labels.length > 0")
    milliseconds = []
    for _ in range(10):
        browser.press("ArrowLeft")
        settle(browser)
        milliseconds.append(browser.evaluate("wordMap.milliseconds"))
    browser.requests[:] = [url for url in browser.requests if url != path.as_uri()]
    assert np.median(milliseconds) < 100  # without a GPU, beside other tests
