"""Tagged documents as ids: tags before words, once through, whatever words stay."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from fastw2v import TaggedDocument, TaggedLineDocument
from fastw2v.word2vec.corpus import Vocabulary, read_documents

DOCUMENTS = [
    TaggedDocument("a b a".split(), ["first", 7]),
    TaggedDocument("rare".split(), ["second"]),
    TaggedDocument([], [7]),
    TaggedDocument("b a".split(), ["first"]),
]


def readable(corpus):
    """The documents that a corpus holds, by their ids."""
    words, tags = corpus.vocabulary.words, corpus.tags.words
    texts = []
    for ids in np.split(corpus.ids, np.flatnonzero(corpus.ids == -1) + 1)[:-1]:
        texts.append(([words[k] for k in ids if k >= 0], [tags[-2 - k] for k in ids if k < -1]))
    return texts


def test_words_that_are_left_out_leave_the_tags():
    corpus = read_documents(iter(DOCUMENTS), min_count=2)  # gone through once
    assert readable(corpus) == [
        (["a", "b", "a"], ["first", 7]),
        ([], ["second"]),
        ([], [7]),
        (["b", "a"], ["first"]),
    ]
    assert corpus.tags.words == ["first", 7, "second"]
    assert corpus.tags.counts.tolist() == [2, 2, 1]
    assert (corpus.num_tokens, corpus.num_words, corpus.num_sentences) == (5, 6, 4)


def test_a_vocabulary_and_tags_may_be_given():
    tags = Vocabulary.from_sorted(["second", 7, "first"], np.zeros(3, np.int64))
    vocabulary = Vocabulary.from_sorted(["rare", "b"], np.ones(2, np.int64))
    corpus = read_documents(DOCUMENTS, vocabulary=vocabulary, tags=tags)
    assert readable(corpus)[1:] == [(["rare"], ["second"]), ([], [7]), (["b"], ["first"])]
    assert corpus.tags.words == tags.words and corpus.tags.counts.tolist() == [1, 2, 2]
    with pytest.raises(ValueError, match="the tag 'other' of document 1 is not one of the 3"):
        read_documents([TaggedDocument(["b"], ["other"])], vocabulary=vocabulary, tags=tags)


def test_forgetting_words_reads_the_documents_again():
    documents = [TaggedDocument([f"w{k}", "often", "more"], [k]) for k in range(50)]
    corpus = read_documents(iter(documents), min_count=5, max_vocab_size=10)
    assert readable(corpus) == [(["often", "more"], [k]) for k in range(50)]
    assert corpus.tags.counts.tolist() == [1] * 50
    assert corpus.num_tokens == 100


def test_long_documents_are_cut_and_keep_their_tags():
    corpus = read_documents([TaggedDocument(["a", "b"] * 12_500, ["x", "y"])], min_count=1)
    assert [(len(words), tags) for words, tags in readable(corpus)] == [
        (10_000, ["x", "y"]),
        (10_000, ["x", "y"]),
        (5_000, ["x", "y"]),
    ]
    assert corpus.num_tokens == 25_000 and corpus.tags.counts.tolist() == [1, 1]
    # A block ends with a document, and so begins with tags.
    assert [len(block) for block in corpus.blocks(1 << 14)] == [10_003, 15_006]


def test_documents_of_gensim_and_numpy_are_taken():
    gensim = pytest.importorskip("gensim.models.doc2vec", reason="gensim is not installed")
    documents = [gensim.TaggedDocument(["a"], [np.int64(3)]), TaggedDocument(("a",), ("b",))]
    assert read_documents(documents, min_count=1).tags.words == [3, "b"]


def test_lines_are_documents_by_their_numbers(tmp_path):
    path = tmp_path / "text.txt.gz"
    path.write_bytes(gzip.compress(b"to be\n\nOr not\n"))
    expected = [(["to", "be"], [0]), ([], [1]), (["Or", "not"], [2])]
    lines = TaggedLineDocument(path)
    assert list(lines) == expected == list(lines)
    assert list(TaggedLineDocument(path, "words"))[2] == (["or", "not"], [2])


BAD = {
    "a sentence": (["a", "b"], TypeError, "is a list, not a document with words and tags"),
    "a str of words": (TaggedDocument("a b", [0]), TypeError, "'a b' is a str, not a list"),
    "a str of tags": (TaggedDocument(["a"], "tag"), TypeError, r"tags = 'tag' of document 2 is a"),
    "an integer of tags": (TaggedDocument(["a"], 5), TypeError, "tags = 5 of document 2 is a int"),
    "no tags": (
        TaggedDocument(["a"], []),
        ValueError,
        "document 2 has 0 tags, expected 1 to 4,096",
    ),
    "many tags": (TaggedDocument(["a"], [1] * 5000), ValueError, "document 2 has 5,000 tags"),
    "a tuple as tag": (TaggedDocument(["a"], [(1, 2)]), TypeError, r"the tag \(1, 2\) of document"),
    "a float as tag": (TaggedDocument(["a"], [1.5]), TypeError, "expected a str or an integer"),
    "a bool as tag": (TaggedDocument(["a"], [True]), TypeError, "the tag True of document 2"),
    "words that are none": (TaggedDocument([["a"]], [1]), TypeError, "hash"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_document_is_refused(name):
    document, error, message = BAD[name]
    with pytest.raises(error, match=message):
        read_documents([DOCUMENTS[0], document], min_count=1)
