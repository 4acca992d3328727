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
        ("हिन्दी में पाठ", ["हिन्दी", "में", "पाठ"]),
        ("தமிழில் உரை", ["தமிழில்", "உரை"]),
        ("ภาษาไทย น้ำ", ["ภาษาไทย", "น้ำ"]),
        ("שָׁלוֹם مُحَمَّد", ["שָׁלוֹם", "مُحَمَّد"]),
        ("نمی\u200cخواهم", ["نمی\u200cخواهم"]),
        ("E\u0301cole nai\u0308ve", ["e\u0301cole", "nai\u0308ve"]),
        ("\u0301a 1\ufe0f\u20e3 a'\u0301b", ["a", "a", "b"]),
        ("İstanbul", ["i\u0307stanbul"]),
        ("ΟΔΟΣ. Σ Α.Σ ΑΣ'Α ΑΣ' ΑΣ\u0301 ΣΑ", "οδος σ α σ ασ'α ας ας\u0301 σα".split()),
    ],
)
def test_tokenize(text, tokens):
    assert tokenize(text) == tokens
