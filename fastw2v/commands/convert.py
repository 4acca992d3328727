"""`fastw2v convert`: word vectors from one format to another."""

from __future__ import annotations

import argparse

from fastw2v.commands import _vectors
from fastw2v.commands._options import count
from fastw2v.word2vec.files import check_outputs
from fastw2v.word2vec.vectors.formats import SUFFIXES, format_of


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "convert",
        help="write word vectors in another format",
        description="Write word vectors in another format: fastw2v convert vectors.bin "
        "vectors.npz, or, to look at them in TensorBoard, fastw2v convert vectors.bin logs --to "
        "projector",
        epilog="Formats: " + _vectors.FORMATS,
    )
    parser.add_argument("vectors", metavar="VECTORS", help="file to read")
    parser.add_argument("output", metavar="OUTPUT", help="file to write; of projector, a directory")
    _vectors.add_format(parser, "--from")
    parser.add_argument(
        "--to",
        choices=list(SUFFIXES),
        metavar="FORMAT",
        help=f"format of OUTPUT: {', '.join(SUFFIXES)} (default: as the name ends)",
    )
    parser.add_argument(
        "--limit", type=count, metavar="N", help="only the N most frequent words (default: all)"
    )


def run(options: argparse.Namespace) -> None:
    """Reads one file and writes the other."""
    output_format = options.to or format_of(options.output)  # before minutes of reading
    output = {"OUTPUT": options.output}
    if output_format == "projector":
        check_outputs({}, {"VECTORS": options.vectors}, output)
    else:
        check_outputs(output, {"VECTORS": options.vectors})
    vectors = _vectors.load(options, options.limit)
    vectors.save(options.output, options.to)
    print(f"{len(vectors):,} words of width {vectors.vector_size}: {options.output}")
