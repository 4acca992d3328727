"""Cutting, counting and numbering words, against their definition in plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest
from kernels.text_definition import (
    TEXTS,
    counted,
    final,
    in_order,
    letters,
    numbered,
    random_text,
    sentences_of,
)

# Longer than a few blocks of half a megabyte.
LONG_TEXTS = {"running text": random_text(1, 300_000), "one long line": "alpha beta é 漢 " * 60_000}

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
each_tokenizer = pytest.mark.parametrize("has_letters", [False, True], ids=["white space", "words"])


@pytest.fixture(scope="module")
def letter_table():
    return letters()


def pieces_of(content, sizes):
    begin = 0
    while begin < len(content):
        size = next(sizes)
        yield content[begin : begin + size]
        begin += size


def endless(*sizes):
    while True:
        yield from sizes


def scan(scanner, content, sizes, num_threads=1):
    """The ids of a text that is given in pieces."""
    ids = [scanner.scan(piece, num_threads) for piece in pieces_of(content, sizes)]
    ids.append(scanner.end_text())
    assert all(part.dtype == np.int32 for part in ids)
    return np.concatenate(ids).tolist()


def check(kernels, text, table, sizes, *, max_sentence=10_000, num_threads=1):
    scanner = kernels.TextScanner(max_sentence=max_sentence, letters=table)
    ids = scan(scanner, text.encode(), sizes, num_threads)
    sentences = sentences_of(text, table is not None, max_sentence)
    index, expected = numbered(sentences)
    words, counts, final_ids = scanner.vocabulary()
    assert words == in_order(counted(sentences)[0])
    assert dict(zip(words, counts.tolist(), strict=True)) == counted(sentences)[0]
    assert ids == expected
    assert final_ids.tolist() == [words.index(word) for word in index] if len(index) < 500 else True
    assert scanner.num_words == sum(map(len, sentences))
    assert scanner.num_types == len(index)


@each_tokenizer
@each_text
@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 5), (10**9,)], ids=lambda sizes: str(sizes[0]))
def test_texts_in_pieces_of_any_size(kernels, letter_table, text, sizes, has_letters):
    table = letter_table if has_letters else None
    check(kernels, text, table, endless(*sizes))


@each_tokenizer
@each_text
@pytest.mark.parametrize("max_sentence", [1, 2, 7])
def test_sentences_are_cut(kernels, letter_table, text, max_sentence, has_letters):
    table = letter_table if has_letters else None
    check(kernels, text, table, endless(5), max_sentence=max_sentence)


@each_tokenizer
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_texts_of_several_blocks(kernels, letter_table, text, num_threads, has_letters):
    rng = random.Random(2)
    sizes = iter(lambda: rng.choice((10, 10_000, 700_000, 4_000_000)), None)
    table = letter_table if has_letters else None
    check(kernels, text, table, sizes, max_sentence=1000, num_threads=num_threads)


@pytest.mark.parametrize("max_types", [1, 3, 50, 800, 2000])
def test_words_are_forgotten_as_gensim_does(kernels, max_types):
    text = LONG_TEXTS["running text"][:200_000]
    sentences = sentences_of(text, False, 300)
    scanner = kernels.TextScanner(max_types=max_types, max_sentence=300)
    scan(scanner, text.encode(), endless(30_000), 2)
    counts, forgotten = counted(sentences, max_types)
    assert forgotten and scanner.pruned
    words, found, _ = scanner.vocabulary()
    assert dict(zip(words, found.tolist(), strict=True)) == counts
    assert scanner.num_words == sum(map(len, sentences))


def test_words_are_forgotten_in_the_middle_of_a_piece(kernels):
    """Blocks after the one in which words went know nothing of their old numbers."""
    text = LONG_TEXTS["running text"]
    scanner = kernels.TextScanner(max_types=2500)
    scan(scanner, text.encode(), endless(10**9), 2)
    counts, forgotten = counted(sentences_of(text, False, 10_000), 2500)
    assert forgotten and scanner.pruned
    words, found, _ = scanner.vocabulary()
    assert dict(zip(words, found.tolist(), strict=True)) == counts


def test_a_bound_that_is_met_forgets_nothing(kernels):
    # The first time, words met fewer than once would go: there are none.
    for text, max_types in (("a b c\nc b a\n", 3), ("a b c\n", 2)):
        scanner = kernels.TextScanner(max_types=max_types)
        assert (
            scan(scanner, text.encode(), endless(1)) == numbered(sentences_of(text, False, 99))[1]
        )
        assert not scanner.pruned


@pytest.mark.parametrize("min_count", [1, 2, 5, 10**9])
@pytest.mark.parametrize("max_final", [0, 1, 10, 999, 10**6])
def test_final_order(kernels, min_count, max_final):
    text = LONG_TEXTS["running text"][:100_000]
    sentences = sentences_of(text, False, 50)
    scanner = kernels.TextScanner(max_sentence=50)
    ids = np.array(scan(scanner, text.encode(), endless(9999)), np.int32)
    words, counts, final_ids = scanner.vocabulary(min_count, max_final)
    all_counts, _ = counted(sentences)
    assert words == in_order(all_counts, min_count, max_final)
    assert counts.tolist() == [all_counts[word] for word in words]
    renumber = kernels.Renumbering(final_ids)
    left = np.concatenate([renumber(part.copy()) for part in np.array_split(ids, 13)])
    assert left.tolist() == final(sentences, words)


def test_ties_end_in_the_order_of_code_points(kernels):
    words = [
        "",
        "a",
        "a\0",
        "a\0b",
        "ab",
        "aaaaaaaa",
        "aaaaaaaaa",
        "aaaaaaaab",
        "é",
        "漢",
        "😀",
        "\uffff",
    ]
    scanner = kernels.TextScanner()
    scanner.scan_sentences([words[::-1]])
    assert scanner.vocabulary()[0] == sorted(words)


@each_tokenizer
@each_text
def test_a_given_vocabulary(kernels, letter_table, text, has_letters):
    sentences = sentences_of(text, has_letters, 3)
    words = in_order(counted(sentences)[0])[::2] + ["never met"]
    scanner = kernels.TextScanner(
        max_sentence=3, vocabulary=words, letters=letter_table if has_letters else None
    )
    assert scan(scanner, text.encode(), endless(4)) == final(sentences, words)
    assert scanner.num_words == sum(map(len, sentences))


def test_several_texts_with_one_scanner(kernels):
    scanner = kernels.TextScanner()
    texts = ["a b", "\ufeffb\n", "", "c a"]
    ids = sum((scan(scanner, text.encode(), endless(2)) for text in texts), [])
    assert ids == [0, 1, -1, 1, -1, 2, 0, -1]


def test_sentences_of_any_words(kernels):
    sentences = [["a b", "", "\n", "\0"], [], ["a b"] * 5, [""], ["x" * 300]]
    scanner = kernels.TextScanner(max_sentence=2)
    ids = (
        scanner.scan_sentences(sentences[:2]).tolist()
        + scanner.scan_sentences(sentences[2:]).tolist()
    )
    cut = [part[i : i + 2] for part in sentences for i in range(0, len(part), 2)]
    assert ids == numbered(cut)[1]
    assert scanner.vocabulary()[0] == in_order(counted(cut)[0])


def test_words_of_any_type(kernels):
    words = [5, -3, 2**63 - 1, -(2**63), 2**70, "5", (1, "a"), None, 0.5, b"5", frozenset(), 1e300]
    sentences = [words, [np.int64(5), 5.0, np.float32(0.5), (1, "a")], [True, 1, "5", np.str_("5")]]
    scanner = kernels.TextScanner()
    ids = scanner.scan_sentences(sentences).tolist()
    assert ids == numbered(sentences)[1]  # as in a dictionary
    found, counts, _ = scanner.vocabulary()
    expected = ["5", 5, 1, (1, "a"), 0.5]  # those met more than once
    expected += [-(2**63), -3, 2**63 - 1, 2**70, None, b"5", frozenset(), 1e300]
    expected.sort(key=counted(sentences)[0].get, reverse=True)
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))
    assert dict(zip(found, counts.tolist(), strict=True)) == counted(sentences)[0]
    scanner = kernels.TextScanner(vocabulary=found)
    assert scanner.scan_sentences(sentences).tolist() == final(sentences, found)


def test_words_of_any_type_are_forgotten(kernels):
    rng = random.Random(3)
    words = [rng.choice([i, str(i), (i,)]) for i in range(300)]
    sentences = [rng.choices(words, range(1, 301), k=20) for _ in range(200)]
    scanner = kernels.TextScanner(max_types=150)
    scanner.scan_sentences(sentences)
    found, counts, _ = scanner.vocabulary()
    assert scanner.pruned
    assert dict(zip(found, counts.tolist(), strict=True)) == counted(sentences, 150)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"zero \0 byte", "not text: it holds a zero byte at offset 5"),
        (b"\0" * 2_000_000, "not text: it holds a zero byte at offset 0"),
        (
            "Größe".encode("latin-1"),
            "not UTF-8 text: byte 0xf6 at offset 2 is part of no character",
        ),
        (b"a \x80", "byte 0x80 at offset 2 is"),  # continues nothing
        (b"a \xc3", "byte 0xc3 at offset 2 is"),  # ends within a character
        (b"a \xe2\x80 b", "byte 0xe2 at offset 2 is"),
        (b"a \xf0\x9f\x98 b", "byte 0xf0 at offset 2 is"),
        (b"\xc1\xbf", "byte 0xc1 at offset 0 is"),  # more bytes than needed
        (b"\xe0\x9f\xbf", "byte 0xe0 at offset 0 is"),
        (b"\xf0\x8f\xbf\xbf", "byte 0xf0 at offset 0 is"),
        (b"\xed\xa0\x80", "byte 0xed at offset 0 is"),  # half of a surrogate pair
        (b"\xf4\x90\x80\x80", "byte 0xf4 at offset 0 is"),  # above the last code point
        (b"\xff\xfea\0", "byte 0xff at offset 0 is"),  # UTF-16
        (b"\xef\xbb\xbfa\nb \xff", "byte 0xff at offset 7 is"),
        (b"a b\n" * 300_000 + b"\xff c\n\0", "byte 0xff at offset 1200000 is"),
        (b"ab " + b"x" * (2**20 + 1), "word at offset 3 has more than 1048576 bytes"),
        ("ab " + "é" * (2**20), "word at offset 3 has more than 1048576 bytes"),
        (b"ab " + b"x" * 3_000_000 + b" c", "word at offset 3 has more than 1048576 bytes"),
    ],
)
@each_tokenizer
@pytest.mark.parametrize("sizes", [(1000,), (4_000_000,)], ids=["small", "large"])
def test_bad_text_is_named(kernels, letter_table, content, message, sizes, has_letters):
    content = content.encode() if isinstance(content, str) else content
    scanner = kernels.TextScanner(letters=letter_table if has_letters else None)
    with pytest.raises(ValueError, match=message):
        scan(scanner, content, endless(*sizes), num_threads=2)


def test_the_longest_word(kernels):
    for word in ("x" * 2**20, "é" * 2**19):
        scanner = kernels.TextScanner()
        assert scan(scanner, f"a {word} b".encode(), endless(99_999)) == [0, 1, 2, -1]
        assert scanner.vocabulary()[0] == ["a", "b", word]


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        ([["a", [1]]], TypeError, r"the word \[1\] is of type list, which is not hashable"),
        ([[np.zeros(1)]], TypeError, "is of type ndarray, which is not hashable"),
        ([["a", float("nan")]], ValueError, "the word nan does not equal itself"),
        ([["\ud800"]], ValueError, r"the word '\\ud800' cannot be written in UTF-8"),
        ([["x" * (2**20 + 1)]], ValueError, "a word has 1048577 bytes, more than 1048576"),
        ([3], TypeError, "not iterable"),
    ],
)
def test_bad_sentences_are_named(kernels, sentences, error, message):
    with pytest.raises(error, match=message):
        kernels.TextScanner().scan_sentences(sentences)


def test_bad_arguments_are_named(kernels):
    with pytest.raises(ValueError, match="max_types must not be negative"):
        kernels.TextScanner(max_types=-1)
    with pytest.raises(ValueError, match="max_sentence must be at least 1"):
        kernels.TextScanner(max_sentence=0)
    for words in (["a", "b", "a"], [7, "7", 7.0]):
        with pytest.raises(ValueError, match=r"words\[2\] is there twice"):
            kernels.TextScanner(vocabulary=words)
    with pytest.raises(ValueError, match=r"id 2 is not below 2"):
        kernels.Renumbering(np.array([0, 1], np.int32))(np.array([2], np.int32))
