import json
import logging
import os
import pickle

import numpy as np
import pytest
from gensim.models import phrases as gensim_phrases
from gensim.test.utils import datapath

from fastw2v.word2vec.corpus import phrases as phrases_module
from fastw2v.word2vec.corpus import read_corpus, read_sentences
from fastw2v.word2vec.corpus.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases

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
    sentences = sentences[::2]
    phrases = Phrases(sentences, **options)
    expected = gensim_phrases.Phrases(sentences, **options)
    assert phrases.vocab == expected.vocab
    assert phrases.corpus_word_count == expected.corpus_word_count
    assert phrases.min_reduce == expected.min_reduce
    assert phrases.export_phrases() == expected.export_phrases()
    assert len(phrases.export_phrases()) > 20 or "max_vocab_size" in options
    frozen, frozen_expected = phrases.freeze(), expected.freeze()
    assert frozen.phrasegrams == frozen_expected.phrasegrams
    some = sentences[::9]
    joined = list(expected[some])
    assert list(phrases[some]) == list(frozen[some]) == joined
    assert phrases.find_phrases(some) == frozen.find_phrases(some) == expected.find_phrases(some)
    assert str(phrases) == str(expected)
    assert str(frozen) == str(frozen_expected)


def test_longer_phrases_and_a_corpus(sentences):
    pairs = Phrases(sentences, min_count=3, threshold=5)
    longer = Phrases(pairs[sentences], min_count=3, threshold=5)
    corpus = read_corpus(longer[pairs[sentences]], min_count=3)
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
    assert phrases.export_phrases() == {}
    assert [phrases[sentence] for sentence in text] == text


def test_saved_and_loaded(tmp_path, sentences):
    phrases = Phrases(sentences, connector_words=CONNECTORS, delimiter="–", threshold=3)
    for _ in range(2):  # the second time over the first
        phrases.save(tmp_path / "phrases")
    assert os.listdir(tmp_path) == ["phrases"]
    loaded = Phrases.load(str(tmp_path / "phrases"))
    assert vars(loaded) == vars(phrases)
    loaded.add_vocab([["to", "be"]])
    phrases.add_vocab([["to", "be"]])
    assert vars(loaded) == vars(phrases)
    frozen = phrases.freeze()
    frozen.save(tmp_path / "frozen")
    assert vars(Phrases.load(tmp_path / "frozen")) == vars(frozen)
    assert vars(pickle.loads(pickle.dumps(phrases))) == vars(phrases)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b"3",
        json.dumps({"format": "another"}).encode(),
        json.dumps({"format": "fastw2v phrases 2", "class": "str", "content": {}}).encode(),
        json.dumps({"format": "fastw2v phrases 2", "class": "Phrases", "content": {}}).encode(),
    ],
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
        ({"scoring": "pmi"}, 'scoring is \'pmi\'; it must be "default", "npmi" or a function of'),
        ({"scoring": max}, "scoring is <built-in function max>; .* worda_count, wordb_count,"),
        ({"max_vocab_size": 0}, "max_vocab_size is 0; it must be at least 1"),
    ],
    ids=[
        "min_count",
        "threshold",
        "threshold of npmi",
        "scoring",
        "scoring by another function",
        "max_vocab_size",
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Phrases([["a"]], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": b"_"}, "delimiter is b'_'; it must be a str"),
        ({"connector_words": "of"}, "connector_words is 'of', not a collection of words"),
    ],
)
def test_arguments_of_another_type(options, message):
    with pytest.raises(TypeError, match=message):
        Phrases([["a"]], **options)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("a text", "the sentence 'a text' is a str, not a list of words .sentence 2 of"),
        (b"a text", "the sentence b'a text' is a bytes, not a list"),
        (float("nan"), "the sentence nan is a float, not a list of words .sentence 2 of"),
        (None, "the sentence None is a NoneType, not a list"),
        (["a", 5], "the word 5 in sentence 2 of the text is no str, and phrases join str"),
    ],
)
def test_what_is_no_sentence(sentence, message):
    with pytest.raises(TypeError, match=message):
        Phrases([["a"], sentence])


def test_a_text_in_place_of_a_sentence():
    with pytest.raises(TypeError, match="the sentence 'new york' is a str"):
        Phrases([["a"]])["new york"]


def test_arguments_by_position_as_in_gensim(sentences):
    arguments = (sentences, 3, 0.3, 10_000, " ", 500, "npmi", CONNECTORS)
    phrases, expected = Phrases(*arguments), gensim_phrases.Phrases(*arguments)
    assert phrases.export_phrases() == expected.export_phrases()
    assert phrases.progress_per == 500
    assert ENGLISH_CONNECTOR_WORDS == gensim_phrases.ENGLISH_CONNECTOR_WORDS
    assert Phraser is FrozenPhrases


def test_texts_of_any_kind():
    text = [["new", "york"], ["in", "new", "york"]]
    phrases = Phrases((iter(sentence) for sentence in text), min_count=1, threshold=0.1)
    expected = [["new_york"], ["in", "new_york"]]
    for model in (phrases, phrases.freeze()):
        for form in (
            text,
            tuple(map(tuple, text)),
            np.array([np.array(sentence, object) for sentence in text], object),
            iter(text),
            (iter(sentence) for sentence in text),
        ):
            assert list(model[form]) == expected
        joined = model[text]
        assert list(joined) == list(joined) == expected  # again and again
        assert len(joined) == 2
        assert joined[1] == expected[1]
        assert model[iter(text[1])] == expected[1]
    assert list(phrases[[[], []]]) == [[], []]
    assert text == [["new", "york"], ["in", "new", "york"]]


def test_texts_one_after_another(sentences):
    for limit in (10**6, 900):
        phrases = Phrases(max_vocab_size=limit, min_count=2)
        expected = gensim_phrases.Phrases(max_vocab_size=limit, min_count=2)
        for begin in range(0, 900, 300):
            phrases.add_vocab(sentences[begin : begin + 300])
            expected.add_vocab(sentences[begin : begin + 300])
        assert phrases.vocab == expected.vocab
        assert phrases.min_reduce == expected.min_reduce


def test_analysis(sentences):
    phrases = Phrases(sentences, connector_words=CONNECTORS, threshold=3)
    expected = gensim_phrases.Phrases(sentences, connector_words=CONNECTORS, threshold=3)
    for sentence in sentences[:50]:
        assert list(phrases.analyze_sentence(sentence)) == list(expected.analyze_sentence(sentence))
    for words in (("new", "south", []), ("hundreds", "people", ["of"]), ("no", "such", [])):
        assert phrases.score_candidate(*words) == expected.score_candidate(*words)


def by_count(worda_count, wordb_count, bigram_count, len_vocab, min_count, corpus_word_count):
    return bigram_count - (corpus_word_count < len_vocab)


def test_own_scorers(tmp_path, monkeypatch, sentences):
    phrases = Phrases(sentences, threshold=20, scoring=by_count)
    expected = gensim_phrases.Phrases(sentences, threshold=20, scoring=by_count)
    assert phrases.export_phrases() == expected.export_phrases() != {}
    phrases.save(tmp_path / "phrases")
    assert Phrases.load(tmp_path / "phrases").scoring is by_count
    monkeypatch.delitem(globals(), "by_count")
    with pytest.raises(ValueError, match=":by_count', which is not found .* load.path, scoring="):
        Phrases.load(tmp_path / "phrases")
    scoring = phrases_module.original_scorer
    assert Phrases.load(tmp_path / "phrases", scoring=scoring).scoring is scoring


def test_a_file_names_no_function_but_scorers(tmp_path):
    path = tmp_path / "phrases"
    Phrases([["a", "b"]], min_count=1).save(path)
    for place in ("os:system", "builtins:eval", "antigravity:fly", "", ":"):
        content = json.loads(path.read_text())
        content["content"]["scoring"] = place
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="is not found in the modules"):
            Phrases.load(path)


def test_frozen_phrases_need_no_scorer(tmp_path, monkeypatch):
    frozen = Phrases([["a", "b"]] * 3, threshold=1, scoring=by_count).freeze()
    for path in (tmp_path / "first", tmp_path / "second"):
        frozen.save(path)
        monkeypatch.setitem(globals(), "by_count", None)
        frozen = FrozenPhrases.load(path)
        assert frozen.scoring is None
        assert frozen[["a", "b"]] == ["a_b"]


class MyPhrases(Phrases):
    note = None


def test_subclasses_and_numbers_of_numpy(tmp_path):
    phrases = MyPhrases([["a", "b"]], min_count=np.int64(1), threshold=np.float32(0.5))
    phrases.note = object()
    phrases.save(tmp_path / "phrases")
    assert type(MyPhrases.load(tmp_path / "phrases")) is MyPhrases
    loaded = Phrases.load(tmp_path / "phrases")
    assert type(loaded) is Phrases
    assert (loaded.min_count, loaded.threshold, loaded.vocab) == (1, 0.5, phrases.vocab)


def test_phrases_of_gensim(tmp_path, sentences):
    theirs = gensim_phrases.Phrases(sentences, min_count=1)
    frozen = FrozenPhrases(theirs)
    assert frozen.phrasegrams == theirs.export_phrases()
    theirs.save(str(tmp_path / "phrases"))
    with pytest.raises(ValueError, match="is a pickle, as gensim writes it, .*FrozenPhrases"):
        Phrases.load(tmp_path / "phrases")


def test_progress_is_logged(caplog):
    with caplog.at_level(logging.INFO, "fastw2v"):
        Phrases([["a", "b"]] * 5, progress_per=2)
    assert [record.getMessage() for record in caplog.records] == [
        "counted 2 sentences, 3 words and pairs",
        "counted 4 sentences, 3 words and pairs",
        "phrases are learned: Phrases<3 vocab, min_count=5, threshold=10.0, "
        "max_vocab_size=40000000>",
    ]
