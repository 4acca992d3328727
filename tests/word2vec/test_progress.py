import io
import re

import pytest

from fastw2v.word2vec import progress as progress_module
from fastw2v.word2vec.progress import ProgressLine


class Stream(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.fixture
def clock(monkeypatch):
    """Stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def show(monkeypatch, clock, is_terminal, share):
    stream = Stream(is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressLine("training") as line:
        for second in range(1, 13):
            clock[0] += 1.0
            line.update(share(second), f"{second} pairs")
    return stream.getvalue()


def test_a_line_every_five_seconds_without_a_terminal(monkeypatch, clock):
    assert show(monkeypatch, clock, False, lambda second: second / 20) == (
        "training:  25%, 00:15 left, 5 pairs\ntraining:  50%, 00:10 left, 10 pairs\n"
    )


def test_no_share_without_a_terminal(monkeypatch, clock):
    assert show(monkeypatch, clock, False, lambda second: None) == (
        "training: 5 pairs\ntraining: 10 pairs\n"
    )


def test_a_bar_on_a_terminal(monkeypatch, clock):
    shown = show(monkeypatch, clock, True, lambda second: second / 20)
    assert re.search(r"training:  25%\|.*left, 5 pairs", shown)
    assert "\n" not in shown


def test_no_share_on_a_terminal(monkeypatch, clock):
    assert "training, 7 pairs" in show(monkeypatch, clock, True, lambda second: None)
