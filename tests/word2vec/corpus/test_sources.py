import bz2
import gzip
import lzma
import os
import sys
import threading

import pytest

from fastw2v.word2vec.corpus import sources
from fastw2v.word2vec.corpus.sources import read_pieces, source_files

TEXT = "Eine Größe und noch eine\nDonaudampfschifffahrt\n".encode() * 300


def write_zstd(content):
    zstandard = pytest.importorskip("zstandard")
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    half = len(content) // 2  # two frames, as programs that run in parallel write them
    return compressor.compress(content[:half]) + compressor.compress(content[half:])


COMPRESSIONS = {
    "none": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda content: gzip.compress(content[:99]) + gzip.compress(content[99:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": write_zstd,
}


def read(path):
    (file,) = source_files(path)
    return list(read_pieces(file))


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("piece_bytes", [7, 4096, 1 << 20])
def test_plain_and_compressed_files(tmp_path, monkeypatch, compress, piece_bytes):
    monkeypatch.setattr(sources, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "text"
    path.write_bytes(compress(TEXT))
    pieces = read(path)
    assert b"".join(piece for piece, _ in pieces) == TEXT
    assert max(len(piece) for piece, _ in pieces) <= piece_bytes
    positions = [position for _, position in pieces]
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size


def test_an_empty_file(tmp_path):
    (tmp_path / "text").touch()
    assert read(tmp_path / "text") == []


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "changed", "beginning alone"])
def test_damaged_files(tmp_path, name, damage):
    content = bytearray(COMPRESSIONS[name](os.urandom(9999)))
    if damage == "cut":
        del content[-9:]
    elif damage == "changed":
        content[len(content) // 2] ^= 255
    else:
        del content[8:]
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged: "):
        read(path)


def test_without_a_package_for_zstd(tmp_path, monkeypatch):
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "text"
    path.write_bytes(b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(ImportError, match=f"{path} is compressed by zstd.*pip install zstandard"):
        read(path)


def test_a_directory_in_sorted_order(tmp_path):
    for name in ("b", "a10", "a2", ".hidden"):
        (tmp_path / name).write_text(name)
    (tmp_path / "a3").mkdir()
    files = source_files(tmp_path)
    assert [file.path.name for file in files] == ["a10", "a2", "b"]
    assert [file.size for file in files] == [3, 2, 1]


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        source_files(tmp_path / "missing")
    with pytest.raises(ValueError, match=f"{tmp_path} is a directory without files"):
        source_files(tmp_path)


def test_a_file_that_vanishes_before_it_is_read(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    (file,) = source_files(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        list(read_pieces(file))


def test_a_file_that_becomes_shorter(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PIECE_BYTES", 100)
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    (file,) = source_files(path)
    pieces = read_pieces(file)
    next(pieces)
    os.truncate(path, 1000)
    with pytest.raises(OSError, match=f"{path} became shorter .* after 1,000 of 14,700 bytes"):
        list(pieces)


def test_the_reader_ends_when_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PIECE_BYTES", 10)
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    (file,) = source_files(path)
    pieces = read_pieces(file)
    next(pieces)
    assert "fastw2v-reader" in [thread.name for thread in threading.enumerate()]
    pieces.close()
    assert "fastw2v-reader" not in [thread.name for thread in threading.enumerate()]


def test_a_pipe_that_gives_little_by_little(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = gzip.compress(TEXT)

    def write():
        with open(path, "wb", buffering=0) as file:
            for begin in range(0, len(content), 3):
                file.write(content[begin : begin + 3])

    (file,) = source_files(path)
    assert not file.is_regular
    writer = threading.Thread(target=write)
    writer.start()
    assert b"".join(piece for piece, _ in read_pieces(file)) == TEXT
    writer.join()


def test_where_no_thread_can_be_started(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_bytes(TEXT)

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert b"".join(piece for piece, _ in read(path)) == TEXT
