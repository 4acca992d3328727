import bz2
import gzip
import io
import lzma
import random
import tracemalloc

import pytest

from fastw2v.word2vec.corpus import compression
from fastw2v.word2vec.corpus.compression import HEAD_BYTES, damages, decompressed, reason_of


def zstd(content):
    zstandard = pytest.importorskip("zstandard")
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


COMPRESSIONS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}
TEXT = "Eine Größe und noch eine\n".encode() * 40
each_compression = pytest.mark.parametrize(
    "compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys()
)


def content_of(compressed, size=10**6):
    reader = decompressed(io.BytesIO(compressed), "name", compressed[:HEAD_BYTES])
    return b"".join(iter(lambda: reader.read(size), b""))


@each_compression
@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("input_bytes", [1, 1 << 16])
def test_streams_one_after_another(monkeypatch, compress, size, input_bytes):
    monkeypatch.setattr(compression, "_INPUT_BYTES", input_bytes)
    for between in (b"", bytes(8)):
        compressed = between.join(map(compress, (TEXT, b"", TEXT[:5]))) + between
        assert content_of(compressed, size) == TEXT + TEXT[:5]


@each_compression
def test_no_bit_can_change_unseen(compress):
    """Two streams, as programs that run in parallel write them. What is changed without a loss (a
    file's name, the time, a flag that means nothing) is read as before."""
    compressed = compress(TEXT) + compress(TEXT[::-1])
    refused = 0
    for place in range(HEAD_BYTES, len(compressed)):
        changed = bytearray(compressed)
        changed[place] ^= 1 << place % 8
        try:
            assert content_of(bytes(changed)) == TEXT + TEXT[::-1], place
        except damages():
            refused += 1
    assert refused > 0.8 * len(compressed)


@each_compression
def test_no_byte_can_be_missing(compress):
    compressed = compress(TEXT)
    for size in range(HEAD_BYTES, len(compressed)):
        with pytest.raises(damages()):
            content_of(compressed[:size])


@each_compression
def test_what_follows_is_no_stream(compress):
    with pytest.raises(damages()):
        content_of(compress(TEXT) + b"something else")


@each_compression
def test_memory_is_bounded_whatever_a_file_expands_to(compress):
    size = 1 << 26
    compressed = compress(bytes(size))
    reader = decompressed(io.BytesIO(compressed), "name", compressed[:HEAD_BYTES])
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in iter(lambda: reader.read(1 << 20), b""))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == size
    assert peak < 40 << 20


def test_windows_that_take_too_much_memory(monkeypatch):
    monkeypatch.setattr(compression, "_MAX_MEMORY", 1 << 20)
    noise = random.Random(1).randbytes(3 << 20)
    zstandard = pytest.importorskip("zstandard")
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    large = zstandard.ZstdCompressor(compression_params=parameters).compress(noise)
    for compressed in (lzma.compress(noise), large):
        with pytest.raises(damages()) as raised:
            content_of(compressed)
        assert reason_of(raised.value).startswith("takes more than 1 MB of memory to decompress: ")
