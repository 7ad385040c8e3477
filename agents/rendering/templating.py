"""The template engine: strict about missing names, escaping by default in every kind of page."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from tracescribe.agents.rendering.visible_text import visible_text

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = "tracescribe.agents.rendering"
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_MARKDOWN_LIST_NUMBER = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")
_MARKDOWN_BLOCK_START = re.compile(r"^(\s*)([-+](?=\s|$)|-(?=-)|=)")
_MARKDOWN_BARE_LINK = re.compile(r"(?i)(https?|ftp|www)([:.])")


def _source(name: str) -> str | None:
    file = resources.files(_TEMPLATES) / "templates" / name
    return file.read_text(encoding="utf-8") if file.is_file() else None


class MarkdownText(str):
    """Text that is Markdown already and is not escaped again."""


def escape_markdown(value: object) -> str:
    """Text in which no character means anything to Markdown or HTML, on one line.

    Escapes by backslash, and `<`, `>`, `&` by entities for viewers that pass HTML through. Web addresses are broken, so
    that viewers which turn bare addresses into links do not.
    """
    if isinstance(value, MarkdownText):
        return str(value)
    text = visible_text(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _MARKDOWN_SPECIAL.sub(r"\\\1", text)
    text = _MARKDOWN_LIST_NUMBER.sub(r"\1\\\2", text)
    text = _MARKDOWN_BLOCK_START.sub(r"\1\\\2", text)
    return _MARKDOWN_BARE_LINK.sub(lambda match: f"{match[1]}&#{ord(match[2])};", text)


@cache
def markup_environment() -> jinja2.Environment:
    """For HTML and SVG: every value is escaped."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


@cache
def visible_environment(package: str) -> jinja2.Environment:
    """For pages of other packages: every value is escaped, and its invisible characters are shown.

    Args:
        package: whose folder `templates` holds the page.
    """
    import jinja2
    from markupsafe import Markup

    def source(name: str) -> str:
        return (resources.files(package) / "templates" / name).read_text(encoding="utf-8")

    def shown(value: object) -> object:
        return visible_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def markdown_environment() -> jinja2.Environment:
    """For Markdown: every value is escaped by `escape_markdown`, unless it is a `MarkdownText`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=False,
        finalize=escape_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = markdown_code
    return environment


def markdown_code(value: object) -> MarkdownText:
    """A code span around a text, fenced by more backquotes than the text has in a row, on one line."""
    text = visible_text(str(value)).replace("|", "¦") or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return MarkdownText(f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}")


def render_markup(template: str, **values: Any) -> str:
    """Render an HTML or SVG template of this package."""
    return markup_environment().get_template(template).render(**values)


def render_markdown_template(template: str, **values: Any) -> str:
    """Render a Markdown template of this package."""
    return markdown_environment().get_template(template).render(**values)
