import numpy as np
import pytest

from fastw2v.word2vec.vocabulary import Vocabulary

COUNTS = {"seldom": 1, "zebra": 3, "ant": 3, "the": 50, "twice": 2}


def test_sorted_by_frequency_with_ties_in_alphabetical_order():
    vocabulary = Vocabulary(COUNTS)
    assert vocabulary.words == ["the", "ant", "zebra", "twice", "seldom"]
    assert vocabulary.counts.tolist() == [50, 3, 3, 2, 1]
    assert vocabulary.counts.dtype == np.int64
    assert [vocabulary.index[word] for word in vocabulary.words] == list(range(5))


def test_order_does_not_depend_on_the_order_of_the_text():
    backwards = dict(reversed(COUNTS.items()))
    assert Vocabulary(COUNTS).words == Vocabulary(backwards).words


@pytest.mark.parametrize(("min_count", "size"), [(1, 5), (2, 4), (3, 3), (4, 1), (51, 0)])
def test_min_count(min_count, size):
    vocabulary = Vocabulary(COUNTS, min_count)
    assert len(vocabulary) == len(vocabulary.counts) == size
    assert ("the" in vocabulary) == (size > 0)
    assert "seldom" not in vocabulary or min_count == 1


def test_min_count_out_of_range():
    with pytest.raises(ValueError, match="min_count is 0; it must be at least 1"):
        Vocabulary(COUNTS, 0)
