"""The page of a co-design run, from rows: escaped, without scripts, equal designs told apart by no noise."""

import html
import re
from dataclasses import replace

import pytest

from sysmol.analysis.page import render
from sysmol.search.codesign import page
from sysmol.search.codesign.descent import Limits
from sysmol.search.codesign.loop import Row
from sysmol.search.codesign.settings import Settings

W4 = Row("w4", "P1", (0,), Limits(1.0), 0.99, 0.99, 0.9917, 4.04, 52_316, 29_916.0, "gem5 24.0.0.1 o3", True, True)
ROUND = replace(
    W4, name="round-1", design="P4", patterns=(36, 44), limits=Limits(0.4, 1.5), accuracy_integer=0.975,
    bits_per_parameter=1.5, file_bytes=16_000, cycles=14_469.0,
)  # fmt: skip
FP32 = replace(
    W4, name="fp32", design="fp32", patterns=(), accuracy_integer=0.9972, file_bytes=394_000, cycles=202_000.0,
    improved=False,
)  # fmt: skip
INT8 = replace(FP32, name="int8", design="int8", accuracy_integer=0.9944, file_bytes=101_000, cycles=57_000.0)
TWIN = replace(ROUND, name="p45", design="P45", accuracy_integer=0.9667, improved=False)


def shown(*rows: Row, images: int = 360, settings: Settings | None = None) -> str:
    return render(page.page_of(page.table(rows), settings or Settings(), images))


def test_the_first_screen_and_the_front() -> None:
    text = shown(W4, FP32, INT8, ROUND, TWIN)
    first = html.unescape(text[: text.index("<section>")])
    for words in ("Accuracy, round-1", "97.50%", "95.3 to 98.7%: 95% interval, 360 test images", "w4: 99.17%",
                  "16 kB", "w4: 52.3 kB, 3.3x as large", "14.5 k", "gem5 24.0.0.1 o3", "2.1x as many",
                  "fp32: 99.72%", "int8: 99.44%", "fp32: 394 kB", "int8: 57 k, 3.9x as many"):  # fmt: skip
        assert words in first, words
    rows = dict(re.findall(r"<tr><td>([\w-]+)</td>.*?<td>([^<]*)</td></tr>", text[: text.index("<h2>Details")]))
    assert [rows[name] for name in ("w4", "round-1", "p45")] == ["yes", "yes", "within noise"]
    assert "≈" not in text and "≈" in shown(*(replace(row, source="estimate") for row in (W4, ROUND)))
    assert "≈" in shown(*(replace(row, source="twin (prediction)") for row in (W4, ROUND)))


def test_without_intervals_and_without_a_kept_network() -> None:
    assert "95% interval," not in shown(W4, ROUND, images=0)
    assert "no network kept its accuracy" in shown(replace(W4, improved=False))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><img src=x>', "{{ 7 * 7 }}", "$\\frac{"])
def test_names_stay_names(name: str) -> None:
    text = shown(replace(W4, name=name), ROUND, settings=Settings(machine=name))
    assert "<script" not in text and text.count("<img ") == text.count('<img src="data:image/svg+xml;base64,') == 2
    assert html.unescape(text).count(name) >= 3


def test_a_missed_limit_is_said() -> None:
    """On the page and in the table, with what the figures say; a limit that they keep says nothing."""
    limits = Limits(0.5, 1.4, "energy")
    missed = replace(ROUND, limits=limits, reached=0.561)
    assert missed.missed == "56% of w4's energy, 1.50 bits"
    assert "50% of w4's energy, 1.40 bits; missed: 56% of w4's energy, 1.50 bits" in html.unescape(shown(W4, missed))
    for kept in (replace(missed, reached=0.505, bits_per_parameter=1.41), replace(ROUND, limits=Limits(0.4))):
        assert not kept.missed and "missed" not in shown(W4, kept)
    frame = page.table([W4, missed])
    assert page.shown(frame)[1][2] == page.limit(frame.to_dict("records")[1])
    older = frame.drop(columns=["missed", "reached"])
    assert page.shown(older)[1][2] == "50% of w4's energy, 1.40 bits"
