"""flows/console.py: what a terminal gets to see of names and cells that hold anything."""

import re

import pytest
from rich.console import Console

from flows import console
from flows.console import Screen
from pipeline.errors import plain

HOSTILE = [
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b2J",
    "over\rwritten",
    "a line\nError: another",
    "\u202egnp.exe\u2066",
    "root:x:0",
    ":warning: [bold red]markup[/bold red] [/] [link=http://x]y[/link]",
    "ends in a backslash \\",
    "lone \ud800",
]


def everything(text: str) -> None:
    """Print a text in every way that there is."""
    rows: dict[str, object] = {text: text, "number": 1}
    grid = {text: [{text: "a", "b": text}]}
    console.show(Screen(sentences=[text], grids=grid, notes=[text], tables={text: rows}, commands=[text]))
    console.columns(text, ["a", text], [["b", text]])
    console.error(text)
    console.warning(text)
    with console.live(), console.step(text):
        pass
    with pytest.raises(ValueError, match="stop"), console.live(), console.step(text):
        raise ValueError("stop")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_acts_on_the_terminal_or_turns_into_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    for name in ("OUT", "ERR"):
        stream = getattr(console, name)
        wide = Console(stderr=stream.stderr, highlight=False, emoji=stream._emoji, width=500)
        monkeypatch.setattr(console, name, wide)
    everything(text)
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    if "\n" not in text:
        assert shown.count(plain(text)) >= 14
    assert not [line for line in shown.splitlines() if line.startswith("Error: another")]


def test_the_same_holds_for_what_a_server_shows() -> None:
    text = "\x1b[31mred"
    screen = Screen(sentences=[text], grids={text: [{text: f"a\n{text}"}]}, notes=[text], tables={text: {text: text}})
    assert "\x1b" not in screen.text
    assert screen.text.count("\\x1b[31mred") == 8


def test_a_line_may_begin_with_empty_ones(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("\nfirst")
    console.say("caf\u00e9 \u4e2d \U0001f642")
    assert capsys.readouterr().out == "\nfirst\ncaf\u00e9 \u4e2d \U0001f642\n"


def test_steps_are_timed_by_their_title_also_where_one_fails() -> None:
    with console.timing() as outer:
        with console.step("read"), console.timing() as inner, console.step("score"):
            pass
        with pytest.raises(OSError, match="full"), console.step("write"):
            raise OSError("full")
        first = outer["read"]
        with console.step("read"):
            pass
    with console.step("later"):
        pass
    assert (list(outer), list(inner)) == (["read", "write"], ["score"])
    assert outer["read"] >= first >= inner["score"] >= 0
