import json
import os

import pytest
from gensim.models import phrases as gensim_phrases
from gensim.test.utils import datapath

from fastw2v.word2vec.corpus import read_corpus, read_sentences
from fastw2v.word2vec.phrases import Phrases

CONNECTORS = frozenset("a an the of in and".split())


@pytest.fixture(scope="module")
def sentences():
    """News of 60,000 words, without the delimiter, which gensim cannot tell from a phrase's."""
    lines = read_sentences(datapath("lee_background.cor"), tokenizer="words")
    # Sentences of one article would be one line.
    return [line[i : i + 40] for line in lines for i in range(0, len(line), 40)]


CASES = {
    "default": {},
    "rare phrases": {"min_count": 1, "threshold": 2.5},
    "a part of an occurrence": {"min_count": 0.5, "threshold": 50},
    "npmi": {"scoring": "npmi", "threshold": 0.4},
    "npmi, rare phrases": {"scoring": "npmi", "threshold": -0.2, "min_count": 1},
    "connectors": {"connector_words": CONNECTORS, "threshold": 3},
    "connectors, npmi": {"connector_words": CONNECTORS, "scoring": "npmi", "threshold": 0.3},
    "another delimiter": {"delimiter": " + ", "threshold": 5},
    "forgetful": {"max_vocab_size": 3000, "min_count": 1, "threshold": 1},
    "very forgetful": {"max_vocab_size": 10, "min_count": 1, "threshold": 0.1},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_phrases_are_gensims(sentences, options):
    phrases = Phrases(sentences, **options)
    expected = gensim_phrases.Phrases(sentences, **options)
    delimiter = options.get("delimiter", "_")
    scores = {delimiter.join(phrase): score for phrase, score in phrases.scores.items()}
    assert scores == expected.export_phrases()
    assert len(scores) > 20 or "max_vocab_size" in options
    for sentence in sentences:
        assert phrases[sentence] == expected[sentence]


def test_longer_phrases_and_a_corpus(sentences):
    pairs = Phrases(sentences, min_count=3, threshold=5)
    longer = Phrases(pairs.transform(sentences), min_count=3, threshold=5)
    corpus = read_corpus(longer.transform(pairs.transform(sentences)), min_count=3)
    phrases = [word for word in corpus.vocabulary.words if "_" in word]
    assert "osama_bin_laden" in phrases
    assert any(word.count("_") == 3 for word in phrases)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ([], []),
        (["a"], ["a"]),
        (["a", "b"], ["a_b"]),
        (["a", "a", "b", "b", "a", "b"], ["a", "a_b", "b", "a_b"]),
        (["of", "a", "of", "b", "of"], ["of", "a_of_b", "of"]),
        (["a", "of", "of", "b"], ["a", "of", "of", "b"]),
        (["b", "c", "d"], ["b_c", "d"]),
        (("never", "met", "of", ""), ["never", "met", "of", ""]),
    ],
)
def test_sentences_from_left_to_right(sentence, expected):
    text = [["a", "b"], ["a", "of", "b"], ["b", "c"], ["c", "d"]] * 2
    phrases = Phrases(text, min_count=1, threshold=0.1, connector_words=["of"])
    assert phrases[sentence] == expected


@pytest.mark.parametrize("text", [[], [[]], [["one"]], [["one"], [], ["one"]]])
def test_texts_without_phrases(text):
    phrases = Phrases(iter(text), min_count=1)
    assert phrases.scores == {}
    assert list(phrases.transform(text)) == text


def test_saved_and_loaded(tmp_path, sentences):
    phrases = Phrases(sentences, connector_words=CONNECTORS, delimiter="–", threshold=3)
    for _ in range(2):  # the second time over the first
        phrases.save(tmp_path / "phrases")
    assert os.listdir(tmp_path) == ["phrases"]
    loaded = Phrases.load(str(tmp_path / "phrases"))
    assert loaded.scores == phrases.scores
    assert list(loaded.transform(sentences)) == list(phrases.transform(sentences))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"{}", b"[]", b"3", json.dumps({"format": "another"}).encode()],
)
def test_loaded_from_another_file(tmp_path, content):
    path = tmp_path / "phrases"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} holds no phrases that fastw2v saved"):
        Phrases.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "min_count is 0; it must be above 0"),
        ({"threshold": 0}, "threshold is 0; it must be above 0"),
        ({"threshold": 10, "scoring": "npmi"}, r"threshold is 10; it must be in \[-1, 1\]"),
        ({"scoring": "pmi"}, 'scoring is \'pmi\'; it must be "default" or "npmi"'),
        ({"max_vocab_size": 0}, "max_vocab_size is 0; it must be at least 1"),
    ],
    ids=["min_count", "threshold", "threshold of npmi", "scoring", "max_vocab_size"],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Phrases([["a"]], **options)


def test_a_text_in_place_of_sentences():
    with pytest.raises(TypeError, match="the sentence 'a text' is a str, not a list of words"):
        Phrases(["a text"])
    with pytest.raises(TypeError, match="the sentence 'new york' is a str"):
        Phrases([["a"]])["new york"]
