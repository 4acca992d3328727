"""The report as text and as data."""

import io
import json
import unicodedata

import pytest
import tensorflow as tf

from fastw2v.doctor import Finding, Place, Report, Step
from fastw2v.doctor.findings.kinds import KINDS
from fastw2v.doctor.report.layout import broken_edge

ROUND = Place("/home/a/train.py", 12, "hidden = tf.round(x)", "loss_fn")
PATH = (Step("ReadVariableOp", "read", None), Step("Round", "Round", ROUND))


def finding(variable="w", kind="rounding", path=PATH, **other):
    values = {"op": "Round", "place": ROUND, "detail": "The values lie between 0 and 1.", **other}
    return Finding(variable, kind, path=path, **values)


def test_text_names_cause_line_and_way_out():
    assert str(Report(("b",), (finding(),))) == (
        "fastw2v.doctor: 1 of 2 variables without a gradient\n"
        "\n"
        f"w: {KINDS['rounding'].title}\n"
        "  /home/a/train.py:12 in loss_fn\n"
        "    hidden = tf.round(x)\n"
        "  Rounding is constant between its steps, so TensorFlow defines no gradient for\n"
        "  it.\n"
        "  Here: The values lie between 0 and 1.\n"
        "  Path: w -> ReadVariableOp -x-> Round -> loss\n"
        "  Instead: Compute the loss from the value before rounding, or round only on the\n"
        "  way forward (a straight-through estimator):\n"
        "    x = x + tf.stop_gradient(tf.round(x) - x)\n"
        "\n"
        "With a gradient: b"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_longer_than_a_terminal(kind):
    detail = "The variable encoder/block_11/attention/kernel was read, and then " * 3
    names = tuple(f"encoder/block_{i}/attention/output/kernel" for i in range(40))
    path = PATH[:1] * 60 + PATH[1:]
    place = Place("/x.py", 1, "y = " + " + ".join(names), "f")
    report = Report(names, (finding(names[0], kind, path, detail=detail, place=place),))
    assert max(map(len, str(report).splitlines())) <= 80


def test_variables_with_one_cause_are_told_together():
    names = [f"layer_{i}/kernel" for i in range(30)]
    findings = tuple(finding(name, detail=f"{name} is read once.") for name in names)
    text = str(Report((), (*findings, finding("bias", place=None))))
    assert text.count("Instead:") == 2
    assert "layer_11/kernel and 18 more: rounding" in " ".join(text.split())
    assert text.startswith("fastw2v.doctor: 31 of 31 variables without a gradient\n")


def test_long_paths_are_told_by_their_ends():
    path = tuple(Step(f"Op{i}", "", None) for i in range(40)) + PATH[1:]
    text = " ".join(str(Report((), (finding(path=path),))).split())
    assert "w -> Op0 -> Op1 -> Op2 -> (32 ops) -> Op35 -> " in text
    assert text.count("Op39 -x-> Round -> loss") == 1


def test_where_a_path_breaks():
    assert broken_edge(finding()) == 1
    assert broken_edge(finding(op=None, path=PATH[:1])) == 1
    assert broken_edge(finding(op=None, path=())) == 0


@pytest.mark.parametrize(
    "kinds, ok, summary",
    [
        ((), True, "nothing wrong; 1 variable with a gradient"),
        (("repeated_rows",), True, "a note"),
        (("zero_gradient",), False, "there are gradients that do not train"),
        (("rank",), False, "the loss cannot be computed"),
        (
            ("unused", "not_finite"),
            False,
            "1 of 2 variables without a gradient; there are gradients that do not train",
        ),
    ],
)
def test_summary_and_ok(kinds, ok, summary):
    report = Report(("b",), tuple(finding(f"v{i}", kind) for i, kind in enumerate(kinds)))
    assert report.ok is ok
    first, _, _ = str(report).partition("\n\n")
    assert " ".join(first.split()) == f"fastw2v.doctor: {summary}"


def test_the_dictionary_is_plain_data():
    report = Report(("b",), (finding(),), graph=lambda: None)
    data = json.loads(json.dumps(report.as_dict()))
    assert set(data) == {"connected", "findings"}
    assert data["findings"][0]["place"]["line"] == 12
    assert data["findings"][0]["path"][1]["op"] == "Round"


def test_color_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    report = Report((), (finding(),))
    file, terminal = io.StringIO(), Terminal()
    report.show(file)
    report.show(terminal)
    assert file.getvalue() == f"{report}\n"
    assert "\033[31;1m" in terminal.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    report.show(plain)
    assert plain.getvalue() == file.getvalue()


def test_places_below_the_working_directory_are_short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    place = Place(str(tmp_path / "a" / "b.py"), 3, "", "<module>")
    assert str(place).replace("\\", "/") == "a/b.py:3"


def test_kinds_are_sentences():
    for key, kind in KINDS.items():
        assert key.isidentifier() and kind.title and not kind.title.endswith("."), key
        assert kind.explanation.endswith("."), key
        # The picture has one line for it.
        assert len(kind.explanation) <= 120, key
        sentence, _, code = kind.fix.partition("\n")
        assert sentence.endswith(":" if code else "."), key
        compile(code, key, "exec")
        assert kind.effect in ("missing", "useless", "error", "note"), key
        for text in (kind.title, kind.explanation, kind.fix):
            assert all(unicodedata.category(c) != "Cc" or c == "\n" for c in text), key


def test_graph_for_tensorboard(tmp_path):
    graph = tf.function(lambda x: tf.round(x)).get_concrete_function(tf.TensorSpec([2])).graph
    Report((), (finding(),), graph=lambda: graph).write_graph(tmp_path / "logs")
    (events,) = (tmp_path / "logs").iterdir()
    (_, event) = tf.compat.v1.train.summary_iterator(str(events))
    nodes = tf.compat.v1.GraphDef.FromString(event.graph_def).node
    assert "Round" in {node.op for node in nodes}


def test_without_a_graph(tmp_path):
    with pytest.raises(ValueError, match="write_graph: this report has no graph"):
        Report((), (finding(),)).write_graph(tmp_path)
