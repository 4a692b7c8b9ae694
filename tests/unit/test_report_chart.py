"""Charts as text: ticks, thinning, and one drawing pinned whole."""

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.report.chart import Mark, Series, interval_strip, line_chart, thin, ticks


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (1.92, 3.17, 5, [1.5, 2.0, 2.5, 3.0, 3.5]),
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (1, 45, 6, [0, 10, 20, 30, 40, 50]),
        (0, 0.3, 4, [0, 0.1, 0.2, 0.3]),
        (0, 100000, 5, [0, 50000, 100000]),
        (2.0, 2.0, 5, [1.0, 1.5, 2.0, 2.5, 3.0]),
        (0.0, 0.0, 3, [-0.5, 0.0, 0.5]),
        (-3.0, -1.0, 5, [-3.0, -2.5, -2.0, -1.5, -1.0]),
    ],
)
def test_ticks(low: float, high: float, count: int, expected: list[float]):
    assert ticks(low, high, count) == expected


finite = st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12)


@given(finite, finite)
def test_ticks_enclose_the_data_and_are_few(a: float, b: float):
    low, high = min(a, b), max(a, b)
    found = ticks(low, high)
    slack = 1e-6 * max(found[-1] - found[0], 1e-300)
    assert found[0] <= low + slack and high - slack <= found[-1]
    assert 2 <= len(found) <= 9
    assert found == sorted(set(found))


def test_thin_keeps_the_mean_and_the_limit():
    points = [(float(x), float(x % 7)) for x in range(1000)]
    few = thin(points, 100)
    assert len(few) == 100
    assert math.isclose(sum(y for _, y in few) / 100, sum(y for _, y in points) / 1000)
    assert thin(points[:5], 100) == points[:5]


def chart(**more: object) -> str:
    return line_chart(
        [Series("a", [(0, 1), (10, 3)]), Series("b & c", [(5, 2)], dots=True)],
        id="x",
        title="T",
        description="D",
        x_label="steps",
        **more,  # type: ignore[arg-type]
    )


GOLDEN = """\
<svg class="chart" viewBox="0 0 680 300" role="img" aria-labelledby="x-title x-desc" \
font-size="13" fill="currentColor">
<title id="x-title">T</title>
<desc id="x-desc">D</desc>
<text class="legend" x="58" y="18"><tspan class="key s0">●</tspan> a\
<tspan class="key s1" dx="18">●</tspan> b &amp; c</text>
"""


def test_the_drawing_is_pinned():
    text = chart(mark=Mark(10, 3, "best"))
    assert text.startswith(GOLDEN)
    # The plot spans x 58 to 666 and y 256 (loss 1) to 54 (loss 3).
    assert 'class="line s0" points="58,256 666,54"' in text
    assert '<circle class="dot s1" cx="362" cy="155" r="3.5"/>' in text
    assert '<circle class="mark" cx="666" cy="54" r="6"' in text
    assert 'x="659" y="45" text-anchor="end">best</text>' in text
    root = ElementTree.fromstring(text)
    labels = [node.text for node in root.iter("text")]
    assert labels[1:-1] == ["1.0", "1.5", "2.0", "2.5", "3.0", "0", "2", "4", "6", "8", "10 steps"]


def test_one_point_is_a_dot_and_none_is_an_error():
    one = line_chart([Series("a", [(1, 2)])], id="x", title="", description="", x_label="")
    assert "<circle" in one and "<polyline" not in one
    with pytest.raises(ValueError, match="at least one point"):
        line_chart([Series("a", [])], id="x", title="", description="", x_label="")


def test_text_is_escaped_and_visible():
    evil = '"><script>\x1b\x00'
    text = line_chart(
        [Series(evil, [(0, 1)])],
        id=evil,
        title=evil,
        description=evil,
        x_label=evil,
        mark=Mark(0, 1, evil),
    )
    assert "<script" not in text and "\x1b" not in text and "\x00" not in text
    ElementTree.fromstring(text)


def test_strips_share_their_scale():
    strip = interval_strip(0.1, 0.05, 0.2, (0.0, 0.2), "good")
    assert strip == (
        '<svg class="strip good" viewBox="0 0 150 22" width="150" height="22" aria-hidden="true">'
        '<line class="zero" x1="6" y1="1" x2="6" y2="21" stroke="currentColor" '
        'stroke-opacity=".5"/><line class="range" x1="40.5" y1="11" x2="144" y2="11" '
        'stroke="currentColor" stroke-width="3" stroke-linecap="round"/>'
        '<circle cx="75" cy="11" r="4.5" fill="currentColor"/></svg>'
    )
    assert "nan" not in interval_strip(0.0, 0.0, 0.0, (0.0, 0.0), "even")
