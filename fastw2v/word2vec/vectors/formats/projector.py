"""The directory that TensorBoard's projector shows."""

from __future__ import annotations

import os
from pathlib import Path

from fastw2v.word2vec.files import replacing
from fastw2v.word2vec.vectors.formats.contents import Contents
from fastw2v.word2vec.vectors.formats.word2vec_format import encoded_words


def write_projector(
    directory: str | os.PathLike[str], contents: Contents, name: str = "words"
) -> None:
    """Writes a log directory whose vectors TensorBoard's projector shows.

    ``vectors.tsv``, ``metadata.tsv`` (words, and counts if there are any) and
    ``projector_config.pbtxt``; then ``tensorboard --logdir DIRECTORY`` and "Projector".

    Raises:
        OSError: The files cannot be written.
        ValueError: A word is empty or holds white space.
    """
    words, vectors, counts = contents[:3]
    encoded = encoded_words(words)
    Path(directory).mkdir(parents=True, exist_ok=True)
    line = b"\t".join([b"%.9g"] * vectors.shape[1]) + b"\n"
    with replacing(Path(directory, "vectors.tsv")) as file:
        for vector in vectors:
            file.write(line % tuple(vector.tolist()))
    with replacing(Path(directory, "metadata.tsv")) as file:
        if counts is None:  # a single column has no heading
            file.write(b"".join(word + b"\n" for word in encoded))
        else:
            lines = zip(encoded, counts.tolist(), strict=True)
            file.write(b"word\tcount\n" + b"".join(b"%s\t%d\n" % line for line in lines))
    config = (
        f'embeddings {{\n  tensor_name: "{name}"\n  tensor_path: "vectors.tsv"\n'
        '  metadata_path: "metadata.tsv"\n}\n'
    )
    with replacing(Path(directory, "projector_config.pbtxt")) as file:
        file.write(config.encode())
