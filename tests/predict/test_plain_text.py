"""Names and labels in files that other programs open: text stays text."""

import csv
import io
import json

import pytest

from videoswin.predict.plain_text import csv_cell, json_text, spelled_out


@pytest.mark.parametrize("text", ["=1+1", "+1", "-2", "@SUM(A1)", " =1+1", '=HYPERLINK("http://x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\x9bb", r"a\x9bb"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\t=1", r"\t=1"),
        ("\ud800", r"\ud800"),
        ("plain ü 動画 -x", "plain ü 動画 -x"),
    ],
)
def test_odd_characters_are_spelled_out(text: str, shown: str) -> None:
    assert spelled_out(text) == shown
    assert csv_cell(text) == shown
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text)])
    assert file.getvalue().isprintable() or file.getvalue().rstrip("\r\n").isprintable()


def test_json_is_ascii_and_gives_names_back() -> None:
    value = {"path": "a\x7f\x9b\u202e ü.mp4", "score": 0.5}
    text = json_text(value)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        json_text({"score": float("nan")})
