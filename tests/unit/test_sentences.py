"""Where sentences end: cases a reader would agree on, one rule each."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.sentences import sentence_spans, sentences


@pytest.mark.parametrize(
    "text",
    [  # | stands where a sentence ends and another begins
        "It rained.| We stayed in.",
        "Really?| Yes!| Good.",
        "What?!| No.",
        "No mark at the end",
        # abbreviations
        "Dr. Smith met Mrs. Jones and Prof. Lee.| They talked.",
        "See e.g. Fig. 3 and Eq. 4.| Both agree.",
        "Smith et al. Proposed it; Lee et al. confirmed it.",
        "It was No. 5 on Jan. 3 last year.| Vol. 2 followed.",
        "He said no.| She said yes.",
        "Apple Inc. Chairman Smith left.",
        "He works for Apple Inc.| The company grew.",
        "Bought for approx. 30 dollars, incl. tax, vs. 40 before.",
        "M. Dupont et Mme. Curie sont là.| Ils parlent.",
        "Das ist z.B. Hans.| Er kommt.",
        # initials and letters with stops between
        "J. K. Rowling wrote it.| She is British.",
        "The U.S. Congress met.| It voted.",
        "He lives in the U.S.| He likes it.",
        "At 5 p.m. Eastern time it began.| At 6 p.m.| The crowd left.",
        "It was I.| Who else?",
        # numbers
        "It cost 3.50 dollars, not 3,500.| Cheap!",
        "Version 2.0.1 is out.| Try it.",
        "There were 5.| 3 were red.",
        "1. Open the box.| 2. Close it again.",
        "(a) Open it.| (b) Close it.",
        # quotations and brackets
        'He said "Stop!" and left.| She stayed.',
        'He said "Stop."| She stayed.',
        "“Go away!”| “Never.”",
        "(He left.)| She stayed (for an hour).| Then she left.",
        "It works [see Fig. 2].| «Oui.»| Non.",
        # dots
        "Well... maybe.| Or not…| Who knows?",
        "He waited . . . and waited.| Nothing.",
        "loratory.metrics is imported.| Then www.example.org opens.",
        # set off as tokens, as in old data sets
        "the man died .| he was 40 .",
        "The man died .| he was 40 .",
        # no capitals anywhere
        "it rained.| we stayed in.",
        # lines
        "A heading|\nAnd a line. with more|\n\nEnd.",
        # other scripts
        "今日は晴れです。|明日は雨でしょう！|傘は？",
        "彼は「行こう。」と言った。|そして去った。",
        "「行こう。」|彼は去った。",
        "今天很好。|明天呢？|再见！",
        "यह एक वाक्य है।| यह दूसरा है॥",
        "كيف حالك؟| أنا بخير.| شكرا.",
        "یہ ایک جملہ ہے۔| یہ دوسرا ہے۔",
        "Это г. Москва.| Он тут.",
    ],
)
def test_sentences_done_by_eye(text: str) -> None:
    expected = [part.strip() for part in text.split("|")]
    assert sentences(text.replace("|", "")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\n ", []),
        ("...", ["..."]),
        (" . ", ["."]),
        ("。", ["。"]),
        ("A.\n\n\nB", ["A.", "B"]),
    ],
)
def test_texts_with_little_in_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_wrapped_lines_are_joined_and_paragraphs_are_not() -> None:
    text = "A sentence over\ntwo lines. Another\n\nA heading\n \nEnd."
    expected = ["A sentence over\ntwo lines.", "Another", "A heading", "End."]
    assert sentences(text, wrapped=True) == expected
    assert len(sentences(text)) == 5


@given(st.text(alphabet="Ab1 .!?…。\n\"')(؟।", max_size=40), st.booleans())
def test_every_visible_character_is_in_one_sentence(text: str, wrapped: bool) -> None:
    spans = sentence_spans(text, wrapped=wrapped)
    ends = [0, *(end for span in spans for end in span), len(text)]
    assert ends == sorted(ends)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() != "" for a, b in spans)


@pytest.mark.parametrize("unit", ["It is so. ", "e.g. ", ". ", "。", "“", ". . "])
def test_a_line_of_a_megabyte_is_read_in_no_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.perf_counter()
    found = sentences(text)
    assert time.perf_counter() - started < 5
    assert len(found) == {"It is so. ": 100_000, "。": 1}.get(unit, len(found))
