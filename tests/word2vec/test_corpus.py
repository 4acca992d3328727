import pytest

from fastw2v.word2vec.corpus import tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("The CAT sat.", ["the", "cat", "sat"]),
        ("one\ntwo", ["one", "\n", "two"]),
        ("don't, the dogs' o’clock '", ["don't", "the", "dogs", "o’clock"]),
        ("3.14 x2 a_b e-mail", ["x", "a", "b", "e", "mail"]),
        ("Über Größe, naïve; слово", ["über", "größe", "naïve", "слово"]),
    ],
)
def test_tokenize(text, tokens):
    assert tokenize(text) == tokens
