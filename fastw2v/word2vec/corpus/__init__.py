"""Text: where it is read from, how it becomes words and phrases, and how often each word occurs."""

from fastw2v.word2vec.corpus.docstrings import DocstringReader
from fastw2v.word2vec.corpus.documents import (
    DocumentCorpus,
    TaggedDocument,
    TaggedLineDocument,
    read_documents,
)
from fastw2v.word2vec.corpus.phrases import (
    ENGLISH_CONNECTOR_WORDS,
    FrozenPhrases,
    Phraser,
    Phrases,
)
from fastw2v.word2vec.corpus.reading import TokenCorpus, read_corpus, read_vocabulary
from fastw2v.word2vec.corpus.sentences import (
    LineSentence,
    PathLineSentences,
    Text8Corpus,
    read_sentences,
)
from fastw2v.word2vec.corpus.tokenizer import TOKENIZERS, tokenize
from fastw2v.word2vec.corpus.vocabulary import Vocabulary

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "TOKENIZERS",
    "DocstringReader",
    "DocumentCorpus",
    "FrozenPhrases",
    "LineSentence",
    "PathLineSentences",
    "Phraser",
    "Phrases",
    "TaggedDocument",
    "TaggedLineDocument",
    "Text8Corpus",
    "TokenCorpus",
    "Vocabulary",
    "read_corpus",
    "read_documents",
    "read_sentences",
    "read_vocabulary",
    "tokenize",
]
