"""pipeline/review/web/text.py: hostile cells, as a page shows them."""

import unicodedata

import pytest

from pipeline.review.web.text import shown, spelled

HIDDEN = [
    "\u202e",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u2066",
    "\x00",
    "\x1b",
    "\u00ad",
    "\u3164",
    "\ud800",
    "\ue000",
    "\u2028",
]


@pytest.mark.parametrize("sign", HIDDEN, ids=[f"U+{ord(sign):04X}" for sign in HIDDEN])
def test_what_cannot_be_seen_is_spelled_out_and_marked(sign: str) -> None:
    words = f"[U+{ord(sign):04X}]"
    assert spelled(f"a{sign}b") == f"a{words}b"
    assert shown(f"a{sign}b") == f'a<span class="odd">{words}</span>b'


def test_letters_of_every_script_and_lines_stay_as_they_are() -> None:
    text = "naïve Ж 漢字 عربي עברית हिन्दी\tend\n"
    assert spelled(text) == shown(text) == text
    assert spelled("e" + "\u0301" * 3) == "e" + "\u0301" * 3


def test_marks_piled_upon_one_letter_are_spelled_out() -> None:
    assert spelled("e" + "\u0301" * 5) == "e" + "\u0301" * 3 + "[U+0301]" * 2


def test_markup_is_text_and_a_long_text_is_shortened_visibly() -> None:
    assert shown("<script>alert(1)</script>") == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert shown("x" * 10_000) == "x" * 120 + '<span class="odd">… 9,880 more</span>'
    assert shown("x" * 120) == "x" * 120


def test_no_sign_of_unicode_that_leaves_no_mark_gets_through() -> None:
    signs = (chr(code) for code in range(0x2FFFF))
    hidden = [sign for sign in signs if unicodedata.category(sign) in ("Cf", "Cc") and sign not in "\n\t"]
    assert len(hidden) > 100
    assert all(spelled(sign).startswith("[U+") for sign in hidden)
