"""What csrc/core/text.h says, in plain Python, and the texts that tests try it on."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

_MARKS = frozenset(
    [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) in ("Mn", "Mc", "Me")]
    + ["\u200c", "\u200d"]
)
_LETTER = r"[^\W\d_]"
_PART = f"{_LETTER}+(?:[{''.join(_MARKS)}]+{_LETTER}*)*"
_WORD = re.compile(f"{_PART}(?:['’]{_PART})*")

# What str.split cuts at, and what looks like it and is none.
SPACES = "\t\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2007\u200a\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = "\x01\x08\x0e\x1b\x7f\x84\x86\u180e\u200b\u2060\ufeff"

TEXTS = {
    "nothing": "",
    "a line end": "\n",
    "white space alone": " \n\t \n\n  ",
    "one word": "word",
    "one word and a line end": "word\n",
    "empty lines": "\n\na b\n\n\nb\n\n",
    "no line end at the end": "a b\nc a",
    "line ends of another system": "a b\r\nb a\r\n\r\n",
    "every white space": "".join(f"a{space}b" for space in SPACES) + "\n" + SPACES,
    "almost white space": " ".join(f"a{c}b" for c in NO_SPACES),
    "a byte order mark": "\ufeffa \ufeffa",
    "characters of 1 to 4 bytes": "a é ã漢 漢é 😀 a😀é \U0010ffff \U00010000 \ud7ff \ue000 \uffff",
    "apostrophes": "don't 'quoted' o’clock rock'n'roll a''b '' ' a' 'a x'\n'y ’tis l'été'",
    "upper case": "Ab aB AB É é ÀÉ ß ẞ Ǆ ǅ Ω K Å Ⱥ Ⅷ ﬃ Ⓐ",
    "dotted and dotless i": "İstanbul I ı İ aİb İ' İ'a",
    "sigmas": "ΟΔΥΣΣΕΥΣ Σ ΑΣ ΑΣ' ΑΣ'Α ΣΑ ας 'Σ ΑΣ1 ΑΣ’’Α",
    "digits and underscores": "a1b2 _c_ x² 3.14 ٣ 1a'b",
    "marks between letters": "e\u0301a na\u0308ive क्षि \u0301a a\u0301' a'\u0301b a\u0301'b \u0301",
    "scripts with marks": "हिन्दी में பாடம் ภาษาไทย שָׁלוֹם مُحَمَّد نمی\u200cخواهم क्\u200dष 1\ufe0f\u20e3",
    "sigmas and marks": "ΑΣ\u0301 ΑΣ\u0301Α Α\u0301Σ ΑΣ'\u0301 ΑΣ\u0301'Α Α.Σ ΟΔΟΣ.Α ΑΣ''Α",
    "every word another": " ".join(f"w{i}" for i in range(5000)),
    "a long line": "a b c " * 40,
    "long words": " ".join("xé"[size % 2] * size for size in (6, 8, 10, 99, 126, 128, 130, 20_001)),
}


def random_text(seed: int, num_words: int) -> str:
    """Words of many lengths and frequencies between separators of all kinds."""
    rng = random.Random(seed)
    letters = "abcdefgABCé'漢ßΩ😀"
    words = [
        "".join(rng.choices(letters, k=rng.choice((1, 2, 3, 7, 8, 9, 20)))) for _ in range(3000)
    ]
    separators = [" "] * 20 + ["\n"] * 2 + ["  ", "\n\n", "\u3000", "\xa0", ", ", "\r\n"]
    chosen = rng.choices(words, [1 / (i + 1) for i in range(len(words))], k=num_words)
    return "".join(map("".join, zip(chosen, rng.choices(separators, k=num_words), strict=True)))


def lower(word: str) -> str:
    """A word in lower case; a sigma is the final one if only marks stand behind it."""
    if "Σ" not in word:
        return word.lower()
    small = [letter.replace("Σ", "σ").lower() for letter in word]
    letters = [i for i, letter in enumerate(word) if letter not in _MARKS]
    if len(letters) > 1 and word[letters[-1]] == "Σ":
        small[letters[-1]] = "ς"
    return "".join(small)


def sentences_of(text: str, has_letters: bool, max_sentence: int) -> list[list[str]]:
    """The sentences of a text."""
    sentences = []
    for line in text.removeprefix("\ufeff").split("\n"):
        words = [lower(word) for word in _WORD.findall(line)] if has_letters else line.split()
        sentences += [words[i : i + max_sentence] for i in range(0, len(words), max_sentence)]
    return sentences


def numbered(sentences: Sequence[Sequence[str]]) -> tuple[dict[str, int], list[int]]:
    """The words in the order in which they come, and the ids of the text."""
    index: dict[str, int] = {}
    ids = []
    for sentence in filter(len, sentences):
        ids += [index.setdefault(word, len(index)) for word in sentence] + [-1]
    return index, ids


def counted(sentences: Sequence[Sequence[str]], max_types: int = 0) -> tuple[dict[str, int], bool]:
    """How often each word occurs that is not forgotten, and whether one was."""
    counts: dict[str, int] = {}
    min_reduce = 1
    forgotten = False
    for sentence in sentences:
        for word in sentence:
            counts[word] = counts.get(word, 0) + 1
        if 0 < max_types < len(counts):
            kept = {word: count for word, count in counts.items() if count >= min_reduce}
            forgotten |= len(kept) < len(counts)
            counts = kept
            min_reduce += 1
    return counts, forgotten


def in_order(counts: dict[str, int], min_count: int = 1, max_final: int = 0) -> list[str]:
    """The words that stay, in final order."""
    words = sorted(counts, key=lambda word: (-counts[word], word))
    words = [word for word in words if counts[word] >= min_count]
    if 0 < max_final < len(words):
        words = [word for word in words if counts[word] > counts[words[max_final]]]
    return words


def final(sentences: Sequence[Sequence[str]], words: Sequence[str]) -> list[int]:
    """The ids of the text by these words; all others are left out."""
    index = {word: i for i, word in enumerate(words)}
    ids = []
    for sentence in sentences:
        known = [index[word] for word in sentence if word in index]
        ids += known + [-1] if known else []
    return ids


def letters() -> np.ndarray:
    """The lower case of letters and the marks by code point, as far as the texts need it."""
    table = np.zeros(0x20000, np.uint32)
    for c in range(len(table)):
        if not 0xD800 <= c < 0xE000 and re.fullmatch(_LETTER, chr(c)):
            table[c] = ord(chr(c).lower()[0])
    marks = np.array([ord(mark) for mark in _MARKS if ord(mark) < len(table)])
    table[marks] = marks + 2**31
    return table
