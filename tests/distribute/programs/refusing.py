"""What is refused, for programs without pytest."""

from __future__ import annotations


def raises(kind, words, function):
    """Asserts that a call raises such an error, with these words in it."""
    try:
        function()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}: {words}")
