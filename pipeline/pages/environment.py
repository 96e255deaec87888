"""What fills in the templates of all pages and charts."""

from functools import cache
from typing import TYPE_CHECKING

from pipeline import numbers

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def environment() -> "Environment":
    """Return what fills in the templates, with text from data escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("pipeline.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = ("number", "percent", "p_value", "metric", "interval")
    templates.filters |= {name: getattr(numbers, name) for name in filters}
    return templates
