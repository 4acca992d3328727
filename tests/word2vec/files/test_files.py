"""Files take their name when they are complete, whoever else writes; and what is left of others."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from fastw2v.word2vec.files import replacing


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink() and path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("ж" * 127)
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == [path.name]


def test_threads_that_write_to_one_path(tmp_path):
    """A reader sees the whole file of one of them."""
    path = tmp_path / "file"
    contents = {bytes([65 + number]) * 100_000 for number in range(4)}
    left = threading.Semaphore(0)

    def write(content):
        for _ in range(50):
            with replacing(path) as file:
                file.write(content[:50_000])
                file.flush()
                file.write(content[50_000:])
        left.release()

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    reads = 0
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
            reads += 1
    assert reads > 10 and all(left.acquire(blocking=False) for _ in threads)
    assert os.listdir(tmp_path) == ["file"]


WRITER = """
import sys, time
from fastw2v.word2vec.files import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        # Elsewhere than in a checkout, whose package is not the installed one.
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        assert len(os.listdir(tmp_path)) == 3
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        with replacing(tmp_path / "another") as file:
            file.write(b"new")
        # That of the process which still writes stays.
        assert len(os.listdir(tmp_path)) == 3 and path.read_bytes() == b"old"
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    with replacing(path) as file:
        file.write(b"new")
    assert sorted(os.listdir(tmp_path)) == ["another", "file"] and path.read_bytes() == b"new"


def test_what_only_looks_left_over_stays(tmp_path):
    """Links are not followed, and what is no file or is locked is not removed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".link.fastw2v-partial").symlink_to(victim)
    (tmp_path / ".directory.fastw2v-partial").mkdir()
    os.mkfifo(tmp_path / ".pipe.fastw2v-partial")
    locked = tmp_path / ".locked.fastw2v-partial"
    before = {entry.name for entry in tmp_path.iterdir()}
    with open(locked, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with replacing(tmp_path / "file") as new:
            new.write(b"new")
        assert locked.exists()
    with replacing(tmp_path / "file") as new:
        new.write(b"newer")
    assert {entry.name for entry in tmp_path.iterdir()} == before | {"file"}
    assert victim.read_bytes() == b"precious" and (tmp_path / "file").read_bytes() == b"newer"


def test_a_planted_file_of_the_same_name_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    victim, planted = tmp_path / "victim", tmp_path / f".file.{'0' * 16}.fastw2v-partial"
    victim.write_bytes(b"precious")
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError) as caught, replacing(tmp_path / "file") as file:
        file.write(b"new")
    assert caught.value.filename == str(tmp_path / "file")
    assert victim.read_bytes() == b"precious" and planted.is_symlink()
