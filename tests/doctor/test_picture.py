"""The picture is well-formed, complete in itself, and shows the broken edge in red."""

from xml.etree import ElementTree

import pytest

from fastw2v.doctor import Finding, Place, Report, Step
from fastw2v.doctor.findings.kinds import KINDS

SVG = "{http://www.w3.org/2000/svg}"
RED = "#d92d20"
HOSTILE = "x < y && \"a\" > 'b' \x00\x1b[31m ]]> <script>alert(1)</script> \ud800 漢字 é"


def picture(tmp_path, *findings, connected=()):
    path = tmp_path / "report.svg"
    Report(connected, findings).write_svg(path)
    text = path.read_text(encoding="utf-8")
    return ElementTree.fromstring(text), text


def steps(count):
    place = Place("train.py", 7, "h = f(x)", "loss_fn")
    return tuple(Step(f"Op{i}", f"scope/op_{i}", place) for i in range(count))


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def red_arrows(root):
    return [
        element
        for element in root.iter(f"{SVG}path")
        if element.get("stroke") == RED and element.get("stroke-dasharray")
    ]


@pytest.mark.parametrize("length", [0, 1, 2, 9, 10, 11, 12, 500])
@pytest.mark.parametrize("ends_in_op", [True, False])
def test_one_red_edge_per_cause(tmp_path, length, ends_in_op):
    path = steps(length)
    op = path[-1].op if path and ends_in_op else None
    finding = Finding("w", "stop_gradient", op, None, "", path)
    root, _ = picture(tmp_path, finding, Finding("v", "unused", None, None, ""))
    assert len(red_arrows(root)) == 2
    shown = texts(root)
    assert "w" in shown and "v" in shown and shown.count("loss") == 2
    boxes = sum(element.get("rx") is not None for element in root.iter(f"{SVG}rect"))
    assert boxes == 4 + min(length, 9 if length > 10 else 10)
    if length > 10:
        assert f"({length - 9} more)" in shown


def test_labels_are_escaped_and_clipped(tmp_path):
    place = Place(HOSTILE, 1, HOSTILE * 20, HOSTILE)
    path = (Step(HOSTILE, HOSTILE, place),)
    root, text = picture(tmp_path, Finding(HOSTILE, "numpy", HOSTILE, place, HOSTILE, path))
    assert "<script" not in text and "\x00" not in text and "\x1b" not in text
    assert max(map(len, filter(None, texts(root)))) < 140
    assert any(label.startswith('x < y && "a"') for label in texts(root))


def test_nothing_outside_is_needed(tmp_path):
    _, text = picture(tmp_path, Finding("w", "rounding", "Op2", None, "", steps(3)))
    assert text.count("http") == 1  # the name of the SVG language
    for word in ("href", "url(", "<script", "<style", "<image", "<foreignObject"):
        assert word not in text


def test_variables_of_one_cause_share_a_column(tmp_path):
    findings = [Finding(f"w{i}", "unused", None, None, "") for i in range(3)]
    root, _ = picture(tmp_path, *findings)
    assert "w0, w1, w2" in texts(root)
    assert texts(root).count("loss") == 1


def test_everything_lies_inside(tmp_path):
    findings = [Finding(kind, kind, "Op3", None, "", steps(4)) for kind in KINDS]
    root, _ = picture(tmp_path, *findings)
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x")), float(element.get("y"))
        assert 0 <= x and x + 7.83 * len(element.text) <= width and 0 < y < height
    for element in root.iter(f"{SVG}rect"):
        x, y = (float(element.get(name, 0)) for name in ("x", "y"))
        assert x + float(element.get("width")) <= width
        assert y + float(element.get("height")) <= height


def test_a_healthy_report(tmp_path):
    root, _ = picture(tmp_path, connected=("a", "b"))
    assert texts(root) == ["nothing wrong: 2 variables with a gradient"]
    assert not red_arrows(root)
