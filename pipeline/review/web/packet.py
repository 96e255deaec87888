"""The page of a packet: one file that needs no desk, no network and no other file."""

import base64
import hashlib
from functools import cache
from importlib.resources import files

from markupsafe import Markup

from pipeline.review.packets import Packet
from pipeline.review.web.pages import LABELS, templates
from pipeline.settings.review import ReviewConfig

KEYS = (
    ("j  k", "next, previous alert"),
    ("f", "fraud"),
    ("n", "not fraud"),
    ("u", "unsure"),
    ("c", "comment; esc leaves it"),
    ("z", "take back the last decision"),
    ("d", "save the file of decisions"),
    ("?", "this list"),
)


def packet_page(packet: Packet, rules: ReviewConfig) -> str:
    """Return the page of a packet as HTML; what stands in it from data is text, and is read by its script nowhere.

    Parameters
    ----------
    packet : Packet
    rules : ReviewConfig
        What a decision takes.
    """
    script, style = _part("packet.js"), _style()
    return (
        templates()
        .get_template("packet.html")
        .render(
            packet=packet,
            rules=rules,
            labels=LABELS,
            keys=KEYS,
            script=script,
            style=style,
            policy=f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'",
        )
    )


@cache
def _part(name: str) -> Markup:
    return Markup((files("pipeline.review.web") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704 (ours)


@cache
def _style() -> Markup:
    """Return the style of the desk's pages and of the packet's."""
    from pipeline.pages.environment import environment

    desk = (files("pipeline.review.web") / "static" / "desk.css").read_text(encoding="utf-8")
    colours = environment().get_template("chart.css").render()
    return Markup("\n".join((colours, desk, _part("packet.css"))))  # noqa: S704 (our own files)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
