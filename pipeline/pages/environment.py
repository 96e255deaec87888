"""What fills in the templates of all pages and charts."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import numbers
from pipeline.errors import plain

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@cache
def environment() -> "Environment":
    """Return what fills in the templates, with text from data escaped and plain."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("pipeline.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain_lines,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("number", "percent", "p_value", "metric", "interval")
    templates.filters |= {name: getattr(numbers, name) for name in filters}
    return templates


def _plain_lines(value: Any) -> Any:
    """Return a text from data plain, line by line; anything else as it is."""
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(plain, value.split("\n")))


@dataclass(frozen=True)
class Script:
    """A script: its text, and the hash by which a page's policy lets it run and no other."""

    text: "Markup"
    hash: str


@cache
def script(name: str) -> Script:
    """Return a script of the templates' folder, which holds nothing from data."""
    from markupsafe import Markup

    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")  # noqa: S704 (our own file)
