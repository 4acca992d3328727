"""Nearest neighbors of words and vectors, and similarities between them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from fastw2v import _kernels
from fastw2v.word2vec.vectors.transport import transport_cost
from fastw2v.word2vec.vectors.word_table import WordTable, lengths_of, normalized

_BLOCK_BYTES = 1 << 20  # of vectors that stay in the cache between their two readings
_BATCH_BLOCK_BYTES = 1 << 26  # of vectors that are scaled to length 1 for many queries at once
_COSMUL_SHIFT = 1e-6  # keeps the denominator from 0; that of Levy and Goldberg is 1e-3


class Search(WordTable):
    """Words and vectors that can be asked for neighbors and similarities."""

    # ---- Means -----------------------------------------------------------------------------------

    def get_mean_vector(
        self,
        keys: Sequence[Hashable | np.ndarray],
        weights: Sequence[float] | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> np.ndarray:
        """Returns the weighted mean of the vectors of words, or of given vectors ``[D]``.

        Args:
            keys: Words or vectors, at least one.
            weights: A number for each, 1 by default. The sum is divided by that of their sizes.
            pre_normalize: Scale the vectors of words to length 1 before.
            post_normalize: Scale the mean to length 1.
            ignore_missing: Leave out words that have no vector, rather than raise.

        Raises:
            UnknownWordError: A word has no vector, and ``ignore_missing`` is False.
            ValueError: There are no keys, or not as many weights.
        """
        if len(keys) == 0:
            raise ValueError("there are no words to take the mean of")
        factors = np.ones(len(keys)) if weights is None else np.asarray(weights)
        if factors.shape != (len(keys),):
            raise ValueError(f"weights has shape {factors.shape}; there are {len(keys)} words")
        total = np.zeros(self.vector_size, np.promote_types(self.vectors.dtype, np.float32))
        size = 0.0
        for key, weight in zip(keys, factors.tolist(), strict=True):
            if self._is_one(key):
                if ignore_missing and key not in self:
                    continue
                vector = self.get_vector(key, norm=pre_normalize)
            else:
                vector = self._checked_vector(key)
            total += weight * vector
            size += abs(weight)
        mean = total / size if size else total
        return normalized(mean) if post_normalize else mean

    def _checked_vector(self, vector: Any) -> np.ndarray:
        vector = np.asarray(vector, dtype=self.vectors.dtype)
        if vector.shape != (self.vector_size,):
            raise ValueError(f"a vector has shape {vector.shape}; it must be [{self.vector_size}]")
        return vector

    def _weighted(self, items: Any, weight: float) -> list[tuple[Any, float]]:
        """Returns words or vectors and their weights: of one, a list of them, or of pairs."""
        if items is None:
            return []
        if self._is_one(items) or self._is_vector(items):
            return [(items, weight)]
        pairs = []
        for item in items:
            if self._is_one(item) or self._is_vector(item):
                pairs.append((item, weight))
            elif len(item) == 2:
                pairs.append((item[0], float(item[1])))
            else:
                raise ValueError(f"{item!r} is no word, no vector and no pair (word, weight)")
        return pairs

    def _is_vector(self, item: Any) -> bool:
        """Distinguishes a vector from a list of words and from a pair of a word and its weight.

        A list of floats is a vector; integers can be words, and are a vector only in an array.
        """
        if isinstance(item, (list, tuple)):
            return len(item) > 0 and all(isinstance(each, (float, np.floating)) for each in item)
        return np.ndim(item) == 1 and np.asarray(item).dtype.kind in "fiu"

    # ---- Neighbors ------------------------------------------------------------------------------

    def nearest(
        self, queries: np.ndarray, topn: int = 10, restrict_vocab: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows of largest cosine with each of many vectors, best first.

        The fused kernel behind ``fastw2v.top_k`` finds them, without a matrix of all cosines.

        Args:
            queries: ``[B, D]``, of any lengths.
            topn: How many, at least 1; all where there are fewer.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Returns:
            Cosines, float32 ``[B, topn]``, and rows, int64 ``[B, topn]``. Among equal cosines the
            lower row comes first.

        Raises:
            ValueError: ``queries`` is not a matrix of that width, or a number is out of its range.

        Example:
            >>> from fastw2v import WordVectors
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> vectors.nearest([[0.0, 9.0]], topn=2)[1].tolist()
            [[0, 1]]
        """
        queries = np.asarray(queries, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.vector_size:
            raise ValueError(
                f"queries has shape {queries.shape}; it must be a matrix of width "
                f"{self.vector_size}"
            )
        searched = self._searched(restrict_vocab)
        if topn < 1:
            raise ValueError(f"topn is {topn}; it must be at least 1")
        queries = normalized(queries)
        cosines = np.empty((len(queries), 0), np.float32)
        rows = np.empty((len(queries), 0), np.int64)
        step = max(_BATCH_BLOCK_BYTES // (4 * self.vector_size), 1)
        for begin in range(0, searched.stop, step):
            block = self.normalized(slice(begin, min(begin + step, searched.stop)))
            found, places = _kernels.top_k_float32(
                queries,
                block.astype(np.float32, copy=False),
                None,
                min(topn, len(block)),
                num_threads=len(os.sched_getaffinity(0)),
            )
            cosines = np.concatenate([cosines, found], axis=1)
            rows = np.concatenate([rows, places + begin], axis=1)
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :topn]
            cosines, rows = (np.take_along_axis(each, best, axis=1) for each in (cosines, rows))
        return cosines, rows

    def _searched(
        self, restrict_vocab: int | None, clip_start: int = 0, clip_end: int | None = None
    ) -> range:
        """Returns the rows that are searched."""
        if restrict_vocab is not None and restrict_vocab < 1:
            raise ValueError(f"restrict_vocab is {restrict_vocab}; it must be at least 1, or None")
        if not len(self):
            raise ValueError("there are no words to search")
        if len(self.vectors) != len(self):
            raise ValueError(
                f"there are {len(self)} words and {len(self.vectors)} vectors: assign words as "
                "well, or call resize_vectors()"
            )
        if restrict_vocab is not None:
            clip_start, clip_end = 0, restrict_vocab
        return range(len(self))[clip_start : clip_end or None]

    def _cosines(self, vector: np.ndarray, rows: range) -> np.ndarray:
        """Returns the cosines of some rows with a vector of length 1.

        Lengths are found on the way, block by block, so that none are kept that could be old.
        """
        matrix = self.vectors[rows.start : rows.stop]
        cosines = np.empty(len(matrix), vector.dtype)
        step = max(_BLOCK_BYTES // (matrix.itemsize * self.vector_size), 1)
        for begin in range(0, len(matrix), step):
            block = matrix[begin : begin + step]
            lengths = lengths_of(block)
            cosines[begin : begin + step] = (block @ vector) / np.where(lengths == 0, 1, lengths)
        return cosines

    def _best(
        self, scores: np.ndarray, rows: range, left_out: set[int], topn: int
    ) -> list[tuple[Any, float]]:
        """Returns the words of largest score, those of the lower row first among equal ones."""
        scores = np.where(np.isnan(scores), -np.inf, scores)
        topn = int(min(topn, len(scores)))
        count = min(topn + len(left_out), len(scores))
        if not count:
            return []
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        found = np.flatnonzero(scores >= least)
        found = found[np.argsort(-scores[found], kind="stable")]
        pairs = ((rows[place], scores[place].item()) for place in found.tolist())
        return [(self.words[row], score) for row, score in pairs if row not in left_out][:topn]

    def most_similar(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
    ) -> list[tuple[Any, float]] | np.ndarray:
        """Returns the words nearest to a sum of vectors, the one of largest cosine first.

        ``most_similar(positive=["king", "woman"], negative=["man"])`` answers "man is to king as
        woman is to ...": Mikolov et al. 2013, "Linguistic Regularities in Continuous Space Word
        Representations", section 4.

        Args:
            positive: A word, a vector, or a list of words, vectors and pairs ``(word, weight)``; a
                vector is an array or a list of floats. The vectors of words are scaled to length 1
                before they are added.
            negative: The same; their weights are -1 rather than 1.
            topn: How many words to return. None: an array of the cosines of all.
            clip_start: Look only among the words from this row on.
            clip_end: Look only among the words before this row; None: up to the last one.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.
                Where it is given the two above do not count.
            indexer: An index that searches in the place of this method, such as gensim's
                ``AnnoyIndexer``: ``indexer.most_similar(vector, topn)`` is returned.

        Returns:
            Pairs of a word and its cosine, without the words that were given.

        Raises:
            UnknownWordError: A word has no vector; this is a KeyError.
            ValueError: No word is given, or a vector has not the right width.
        """
        if topn is not None and topn < 1:
            return []
        pairs = self._weighted(positive, 1.0) + self._weighted(negative, -1.0)
        if not pairs:
            raise ValueError("most_similar takes at least one word or vector")
        keys, weights = zip(*pairs, strict=True)
        mean = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        if indexer is not None and topn is not None:
            return indexer.most_similar(mean, topn)
        searched = self._searched(restrict_vocab, clip_start, clip_end)
        cosines = self._cosines(mean, searched)
        if topn is None:
            return cosines
        return self._best(cosines, searched, self._rows_of(keys), topn)

    def most_similar_cosmul(
        self,
        positive: Any = None,
        negative: Any = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> list[tuple[Any, float]] | np.ndarray:
        """Returns the words whose similarities multiply to the most: 3CosMul.

        The product of (1 + cosine) / 2 over ``positive``, divided by that over ``negative``: no
        single large similarity decides alone. Levy and Goldberg 2014, "Linguistic Regularities in
        Sparse and Explicit Word Representations", equation 4 and footnote 7.

        Args:
            positive: A word, a vector, or a list of them. Vectors are scaled to length 1, too.
            negative: The same.
            topn, restrict_vocab: As in ``most_similar``.

        Returns:
            Pairs of a word and its score, without the words that were given.

        Raises:
            UnknownWordError: A word has no vector; this is a KeyError.
            ValueError: No positive word is given, or a vector has not the right width.
        """
        if topn is not None and topn < 1:
            return []
        sides = [[key for key, _ in self._weighted(side, 1.0)] for side in (positive, negative)]
        if not sides[0]:
            raise ValueError("most_similar_cosmul takes at least one positive word or vector")
        searched = self._searched(restrict_vocab)
        products = [np.ones(len(searched)), np.ones(len(searched))]
        for product, keys in zip(products, sides, strict=True):
            for key in keys:
                vector = self.get_mean_vector([key], post_normalize=True, ignore_missing=False)
                product *= (1 + self._cosines(vector, searched)) / 2
        scores = products[0] / (products[1] + _COSMUL_SHIFT)
        if topn is None:
            return scores
        return self._best(scores, searched, self._rows_of(sides[0] + sides[1]), topn)

    def _rows_of(self, keys: Iterable[Any]) -> set[int]:
        """Returns the rows of the words among words and vectors. A word may have none, and a vector
        all the same."""
        return {self.get_index(key, -1) for key in keys if self._is_one(key)}

    def most_similar_batch(
        self,
        queries: Sequence[Hashable | np.ndarray],
        topn: int = 10,
        restrict_vocab: int | None = None,
    ) -> list[list[tuple[Any, float]]]:
        """Returns the neighbors of many words or vectors, as ``most_similar`` does of each.

        All are searched for at once: a thousand words in a few times the time of one.

        Args:
            queries: Words or vectors.
            topn: How many neighbors of each.
            restrict_vocab: Look only among so many of the most frequent words; None: among all.

        Example:
            >>> from fastw2v import WordVectors
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> [found[0][0] for found in vectors.most_similar_batch(vectors.words, topn=1)]
            ['up', 'north', 'up']
        """
        if not len(queries) or topn < 1:
            return [[] for _ in queries]
        matrix = np.stack(
            [
                self.get_vector(query) if self._is_one(query) else self._checked_vector(query)
                for query in queries
            ]
        )
        found = zip(queries, *self.nearest(matrix, topn + 1, restrict_vocab), strict=True)
        answers = []
        for query, cosines, rows in found:
            given = self._rows_of([query])
            pairs = zip(rows.tolist(), cosines.tolist(), strict=True)
            others = [(self.words[row], cosine) for row, cosine in pairs if row not in given]
            answers.append(others[:topn])
        return answers

    def similar_by_key(
        self, key: Hashable, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[Any, float]] | np.ndarray:
        """Returns the words nearest to a word: ``most_similar`` of it alone."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_word(
        self, word: Hashable, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[Any, float]] | np.ndarray:
        """Returns the words nearest to a word: ``most_similar`` of it alone."""
        return self.similar_by_key(word, topn, restrict_vocab)

    def similar_by_vector(
        self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None
    ) -> list[tuple[Any, float]] | np.ndarray:
        """Returns the words nearest to a vector ``[D]``."""
        return self.most_similar([np.asarray(vector)], topn=topn, restrict_vocab=restrict_vocab)

    # ---- Similarities ----------------------------------------------------------------------------

    @staticmethod
    def cosine_similarities(vector_1: np.ndarray, vectors_all: np.ndarray) -> np.ndarray:
        """Returns the cosines of a vector ``[D]`` with others ``[n, D]``: ``[n]``."""
        vector, others = np.asarray(vector_1), np.asarray(vectors_all)
        return normalized(others) @ normalized(vector)

    def similarity(self, w1: Hashable, w2: Hashable) -> float:
        """Returns the cosine of the vectors of two words."""
        a, b = (self.get_vector(word).astype(np.float64) for word in (w1, w2))
        lengths = np.sqrt((a @ a) * (b @ b))  # so a word has a cosine of exactly 1 with itself
        return float(a @ b / lengths) if lengths else 0.0

    def distance(self, w1: Hashable, w2: Hashable) -> float:
        """Returns 1 less the cosine of the vectors of two words."""
        return 1 - self.similarity(w1, w2)

    def distances(
        self, word_or_vector: Hashable | np.ndarray, other_words: Iterable[Hashable] = ()
    ) -> np.ndarray:
        """Returns 1 less the cosines with other words ``[n]``; with all where none are given."""
        if self._is_one(word_or_vector):
            vector = self.get_vector(word_or_vector, norm=True)
        else:
            vector = normalized(self._checked_vector(word_or_vector))
        other_words = [] if other_words is None else list(other_words)
        if other_words:
            return 1 - normalized(self[other_words]) @ vector
        return 1 - self._cosines(vector, self._searched(None))

    def closer_than(self, key1: Hashable, key2: Hashable) -> list[Any]:
        """Returns the words that are nearer to a word than another one is, in their order."""
        nearer = np.flatnonzero(self.distances(key1) < self.distances(key1, [key2])[0])
        named = self.get_index(key1, -1), self.get_index(key2, -1)  # may have a vector and no row
        return [self.words[row] for row in nearer if row not in named]

    def words_closer_than(self, word1: Hashable, word2: Hashable) -> list[Any]:
        """The old name of ``closer_than``."""
        warnings.warn("words_closer_than is now closer_than", DeprecationWarning, stacklevel=2)
        return self.closer_than(word1, word2)

    def rank(self, key1: Hashable, key2: Hashable) -> int:
        """Returns which neighbor of a word another one is, 1 for the nearest."""
        return len(self.closer_than(key1, key2)) + 1

    def relative_cosine_similarity(self, wa: Hashable, wb: Hashable, topn: int = 10) -> float:
        """Returns the cosine of two words, divided by the sum of those of the first's neighbors.

        Words with one above 0.1, with ten neighbors, are likely synonyms. Leeuwenberg et al. 2016,
        "A Minimally Supervised Approach for Synonym Extraction with Word Embeddings", equation 1.

        Raises:
            UnknownWordError: A word has no vector; this is a KeyError.
            ValueError: There are no neighbors.
        """
        neighbors = self.similar_by_key(wa, topn)
        if not neighbors:
            raise ValueError(f"the word {wa!r} has no neighbors with topn = {topn}")
        return self.similarity(wa, wb) / sum(cosine for _, cosine in neighbors)

    def n_similarity(self, ws1: Sequence[Hashable], ws2: Sequence[Hashable]) -> float:
        """Returns the cosine of the means of two lists of words, whose lengths count.

        Words without a vector are left out, as gensim does.

        Raises:
            ZeroDivisionError: A list is empty.
        """
        if not len(ws1) or not len(ws2):
            raise ZeroDivisionError("a list of words is empty: it has no mean")
        means = [self.get_mean_vector(words, pre_normalize=False) for words in (ws1, ws2)]
        return float(normalized(means[0]) @ normalized(means[1]))

    def rank_by_centrality(
        self, words: Sequence[Hashable], use_norm: bool = True
    ) -> list[tuple[float, Any]]:
        """Returns words and their similarities to the mean of all, the most similar one first.

        Words without a vector are left out, as gensim does.

        Args:
            words: The words.
            use_norm: Scale their vectors to length 1 before. Otherwise the similarity is the
                product of a vector with the mean, scaled to length 1.

        Raises:
            ValueError: None of them has a vector.
        """
        known = [word for word in words if word in self]
        if not known:
            raise ValueError("none of the words has a vector")
        matrix = normalized(self[known]) if use_norm else self[known]
        similarities = matrix @ normalized(matrix.mean(axis=0))
        pairs = zip(similarities.tolist(), known, strict=True)
        return sorted(pairs, key=itemgetter(0), reverse=True)

    def doesnt_match(self, words: Sequence[Hashable]) -> Any:
        """Returns the word whose vector is furthest from the mean of all.

        Words without a vector are left out, as gensim does.

        Raises:
            ValueError: None of them has a vector.

        Example:
            >>> from fastw2v import WordVectors
            >>> vectors = WordVectors(["north", "up", "south"], [[0, 1], [0.6, 0.8], [0, -1]])
            >>> vectors.doesnt_match(["north", "south", "up"])
            'south'
        """
        return self.rank_by_centrality(words)[-1][1]

    def most_similar_to_given(self, key1: Hashable, keys_list: Sequence[Hashable]) -> Any:
        """Returns the word of a list that is nearest to a word.

        Raises:
            UnknownWordError: A word has no vector; this is a KeyError.
            ValueError: The list is empty.
        """
        if not len(keys_list):
            raise ValueError("there are no words to choose from")
        return keys_list[int(self.distances(key1, keys_list).argmin())]

    def wmdistance(
        self, document1: Iterable[Hashable], document2: Iterable[Hashable], norm: bool = True
    ) -> float:
        """Returns the Word Mover's Distance of two documents.

        The least sum of distances over which the words of one document, each with an equal share,
        can be moved to those of the other. Kusner et al. 2015, "From Word Embeddings To Document
        Distances". Words without a vector are left out.

        Args:
            document1, document2: The words of a document.
            norm: Scale the vectors of words to length 1 before.

        Returns:
            The distance; infinity where a document has no known words.

        Raises:
            ImportError: SciPy, which solves the transport problem, is not installed.

        Example:
            >>> from fastw2v import WordVectors
            >>> vectors = WordVectors(["north", "east", "south"], [[0, 1], [1, 0], [0, -1]])
            >>> vectors.wmdistance(["north", "north"], ["south", "north"])
            1.0
        """
        documents = [[word for word in each if word in self] for each in (document1, document2)]
        if not all(documents):
            return np.inf
        shares, places = [], []
        for document in documents:
            times = Counter(document)
            shares.append(np.array(list(times.values())) / len(document))
            vectors = self[list(times)]
            places.append((normalized(vectors) if norm else vectors).astype(np.float64))
        costs = np.linalg.norm(places[0][:, None] - places[1], axis=2)
        return transport_cost(shares[0], shares[1], costs)
