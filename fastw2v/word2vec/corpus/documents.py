"""Documents: texts with tags, whose words are read as those of sentences are."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastw2v._kernels import TextScanner
from fastw2v.word2vec.corpus.reading import Report, Text, TokenCorpus, batches, number_words
from fastw2v.word2vec.corpus.sentences import lines_of, words_of
from fastw2v.word2vec.corpus.token_file import TokenFile
from fastw2v.word2vec.corpus.tokenizer import splitter_of
from fastw2v.word2vec.corpus.vocabulary import Vocabulary, check_limits

MOST_TAGS = 4096  # of a document

Documents: TypeAlias = Iterable[Any]  # those of gensim have the same two attributes


class TaggedDocument(NamedTuple):
    """A text with its tags, under gensim's name.

    Attributes:
        words: The words, in order.
        tags: Strings or integers, at least one: what the vectors of documents are called. Most
            often a document has one that no other has; documents that share a tag train one vector.

    Example:
        >>> from fastw2v import TaggedDocument
        >>> TaggedDocument(["to", "be"], [0]).tags
        [0]
    """

    words: Sequence[Hashable]
    tags: Sequence[Hashable]


class TaggedLineDocument:
    r"""The lines of a text as documents, each tagged by its number, from 0 on.

    Args:
        source: A UTF-8 text file, plain or compressed, or a directory of such files, as
            `fastw2v.word2vec.corpus.read_corpus` takes them.
        tokenizer: How lines become words, as there.

    Raises:
        ImportError, OSError, ValueError: While iterating, as in `read_corpus`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w+") as file:
        ...     _ = file.write("to be\n\nor not\n")
        ...     file.flush()
        ...     for document in TaggedLineDocument(file.name):
        ...         print(document.words, document.tags)
        ['to', 'be'] [0]
        [] [1]
        ['or', 'not'] [2]
    """

    def __init__(self, source: str | os.PathLike[str], tokenizer: str = "whitespace") -> None:
        self.source = source
        self.tokenizer = tokenizer

    def __iter__(self) -> Iterator[TaggedDocument]:
        split = splitter_of(self.tokenizer)
        for number, line in enumerate(lines_of(self.source)):
            yield TaggedDocument(split(line), [number])


class DocumentCorpus(TokenCorpus):
    """Documents as ids in a file: see `read_documents`.

    Attributes:
        tags: The tags, a `Vocabulary` in the order of the text; its counts are those of documents.
        ids: As in `TokenCorpus`; the id ``-2 - k`` before the words of a document says that it has
            tag ``k``. A document has no words where none of its own is in the vocabulary.
    """

    tags: Vocabulary

    def __init__(self, tokens: TokenFile, tags: Vocabulary, num_tag_ids: int) -> None:
        super().__init__(tokens)
        self.tags = tags
        self.num_tokens -= num_tag_ids


def read_documents(
    documents: Documents,
    *,
    min_count: int = 5,
    max_vocab_size: int | None = None,
    max_final_vocab: int | None = None,
    vocabulary: Vocabulary | None = None,
    tags: Vocabulary | None = None,
    report: Report | None = None,
) -> DocumentCorpus:
    """Reads tagged documents once: counts their words and writes their ids to a file.

    Args:
        documents: An iterable that is gone through once, of documents with the attributes ``words``
            and ``tags``, as `TaggedDocument` and that of gensim have them. Words are cut into
            pieces of 10,000, which have the tags of the document.
        min_count, max_vocab_size, max_final_vocab, vocabulary, report: As in
            `fastw2v.word2vec.corpus.read_corpus`.
        tags: The tags that there may be, with their numbers; None takes those of the documents.

    Raises:
        OSError: The ids cannot be written.
        TypeError: Something is no document, or a word or tag is of the wrong type.
        ValueError: An argument is out of its range; or a document has no tag, more than 4096, or
            one that is not in ``tags``.

    Example:
        >>> from fastw2v import TaggedDocument
        >>> documents = [TaggedDocument(["to", "be"], ["a"]), TaggedDocument(["be"], ["b"])]
        >>> corpus = read_documents(documents, min_count=1)
        >>> corpus.tags.words, corpus.num_tokens, corpus.ids.tolist()
        (['a', 'b'], 3, [-2, 1, 0, -1, -3, 0, -1])
    """
    check_limits(min_count, max_vocab_size, max_final_vocab)
    text = _TaggedText(documents, tags, report)
    tokens = number_words(text, (min_count, max_vocab_size, max_final_vocab), vocabulary)
    return DocumentCorpus(tokens, text.tags(), text.num_tag_ids)


def renumbered_documents(corpus: DocumentCorpus, vocabulary: Vocabulary) -> DocumentCorpus:
    """Documents by the ids of a vocabulary that has only some of their words."""
    renumbered = read_documents(_documents(corpus), vocabulary=vocabulary, tags=corpus.tags)
    renumbered.tags = corpus.tags  # counted before long documents were cut
    return renumbered


def _documents(corpus: DocumentCorpus) -> Iterator[TaggedDocument]:
    words, tags = corpus.vocabulary.words, corpus.tags.words
    for block in corpus.blocks(1 << 16):
        for ids in np.split(block, np.flatnonzero(block == -1) + 1):
            if len(ids):
                of_words, of_tags = ids[ids >= 0].tolist(), ids[ids < -1].tolist()
                yield TaggedDocument([words[k] for k in of_words], [tags[-2 - k] for k in of_tags])


class _TaggedText(Text):
    """Documents. A part is some of them, each its words and the ids of its tags."""

    def __init__(
        self, documents: Documents, known: Vocabulary | None, report: Report | None
    ) -> None:
        super().__init__(report)
        self._documents, self._known = documents, known
        self._rows: dict[Hashable, int] = {} if known is None else known.index
        self._counts = [0] * len(self._rows)
        self.num_tag_ids = 0

    def scan(self, scanner: TextScanner) -> Iterator[np.ndarray]:
        self.num_tag_ids = 0  # where it is read a second time
        return super().scan(scanner)

    def tags(self) -> Vocabulary:
        """Those of the documents, or those that were known before."""
        words = list(self._rows) if self._known is None else self._known.words
        return Vocabulary.from_sorted(words, np.array(self._counts, np.int64))

    def identity(self) -> None:
        return None

    def _parts(self) -> Iterator[list[tuple[Sequence[Hashable], np.ndarray]]]:
        numbered = enumerate(self._documents, start=1)
        return batches((self._taken(each, number) for number, each in numbered), _num_words)

    def _taken(self, document: Any, number: int) -> tuple[Sequence[Hashable], np.ndarray]:
        try:
            words, tags = document.words, document.tags
        except AttributeError:
            raise TypeError(
                f"{document!r:.60} is a {type(document).__name__}, not a document with words and "
                f"tags, such as fastw2v.TaggedDocument(words, tags) (document {number:,})"
            ) from None
        if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
            raise TypeError(
                f"tags = {tags!r:.60} of document {number:,} is a {type(tags).__name__}, expected "
                f"a list of tags, as [{tags!r:.60}]"
            )
        rows = [self._row_of(tag, number) for tag in tags]
        if not 1 <= len(rows) <= MOST_TAGS:
            raise ValueError(
                f"document {number:,} has {len(rows):,} tags, expected 1 to {MOST_TAGS:,}"
            )
        return words_of(words, number), -2 - np.array(rows, np.int32)

    def _row_of(self, tag: Any, number: int) -> int:
        if isinstance(tag, np.generic):
            tag = tag.item()
        if not isinstance(tag, (str, int)) or isinstance(tag, bool):
            raise TypeError(
                f"the tag {tag!r:.60} of document {number:,} is a {type(tag).__name__}, expected a "
                "str or an integer"
            )
        row = self._rows.get(tag)
        if row is None:
            if self._known is not None:
                raise ValueError(
                    f"the tag {tag!r:.60} of document {number:,} is not one of the "
                    f"{len(self._rows):,} that the model has; infer_vector gives new documents a "
                    "vector"
                )
            row = self._rows[tag] = len(self._rows)
            self._counts.append(0)
        self._counts[row] += 1
        return row

    def _scan(
        self, part: list[tuple[Sequence[Hashable], np.ndarray]], scanner: TextScanner
    ) -> tuple[np.ndarray, int, int | None]:
        ids: list[np.ndarray] = []
        for words, tags in part:
            sentences = scanner.scan_sentences([words])
            for piece in np.split(sentences, np.flatnonzero(sentences < 0) + 1)[:-1] or [_EMPTY]:
                ids += tags, piece
                self.num_tag_ids += len(tags)
        return (np.concatenate(ids) if ids else np.array([], np.int32)), 0, None


_EMPTY = np.array([-1], np.int32)


def _num_words(document: tuple[Sequence[Hashable], np.ndarray]) -> int:
    return len(document[0])
