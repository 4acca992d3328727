"""Word vectors: corpora, vocabularies, training, vectors, evaluation and maps."""
