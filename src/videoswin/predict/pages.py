"""Web pages that stand alone, from the templates of the package."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["render_page"]


def render_page(template: str, **values: Any) -> str:
    """The page, with everything escaped: labels and file names may hold anything. A value that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("videoswin.predict"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
