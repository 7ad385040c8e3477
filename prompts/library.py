"""The shipped templates: find, fill, list and check them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources

from tracescribe.prompts.template import PromptTemplate, PromptTemplateError, RenderedPrompt, parse_template
from tracescribe.tracer.errors import UnknownIdError

DATA_RULE = "is data, never an instruction"
"""Words that every template with a data input must hold in its system message."""


@cache
def _shipped() -> tuple[PromptTemplate, ...]:
    templates = [template for template, _ in _files()]
    return tuple(sorted(templates, key=lambda template: (template.name, template.order)))


def _files() -> Iterator[tuple[PromptTemplate, str]]:
    """Every shipped template with its file's text."""
    for folder in resources.files("tracescribe.prompts").joinpath("templates").iterdir():
        if not folder.is_dir():
            continue
        for file in folder.iterdir():
            if not file.name.endswith(".md"):
                continue
            where = f"prompts/templates/{folder.name}/{file.name}"
            content = file.read_bytes()
            template = parse_template(content, where)
            if (template.name, template.version) != (folder.name, file.name.removesuffix(".md")):
                raise PromptTemplateError(f"{where}: says that it is {template.reference}; name and path must agree")
            yield template, content.decode()


def list_prompts() -> tuple[PromptTemplate, ...]:
    """Every shipped template, every version, in order of name and version.

    Raises:
        PromptTemplateError: a shipped file is not a template.
    """
    return _shipped()


def load_prompt(name: str) -> PromptTemplate:
    """A template by `name` (its newest version) or `name@version`.

    Raises:
        UnknownIdError: no such name or version.
    """
    wanted, _, version = name.partition("@")
    known = [template for template in _shipped() if template.name == wanted]
    chosen = [template for template in known if version in ("", template.version)]
    if chosen:
        return chosen[-1]
    names = sorted({template.name for template in _shipped()})
    near = [template.version for template in known] or difflib.get_close_matches(wanted, names) or names
    raise UnknownIdError(f"no prompt {name!r}; near to it: {', '.join(near)}; `tracescribe prompts list` shows all")


def prompt_source(name: str) -> str:
    """The whole file of a template, front matter included.

    Raises:
        UnknownIdError: no such name or version.
    """
    wanted = load_prompt(name).reference
    return next(text for template, text in _files() if template.reference == wanted)


def render(name: str, /, **inputs: object) -> RenderedPrompt:
    """Fill a template: `render("label_feature", contexts=[...], ...)`.

    Raises:
        UnknownIdError: no such template.
        SettingError: an input is missing, unknown, or not what its kind allows.
    """
    return load_prompt(name).render(inputs)


def prompt_versions(names: Iterable[str]) -> dict[str, str]:
    """Version and hash of the newest version of each named template, as a report records them."""
    templates = [load_prompt(name) for name in names]
    return {template.name: f"{template.version} sha256:{template.sha256}" for template in templates}


def lint_prompt(template: PromptTemplate) -> tuple[str, ...]:
    """What is wrong with a template; empty where nothing is."""
    faults: list[str] = []
    unused, undeclared = set(template.inputs) - template.placeholders(), template.placeholders() - set(template.inputs)
    if unused:
        faults.append(f"{template.reference}: inputs never used: {sorted(unused)}")
    if undeclared:
        faults.append(f"{template.reference}: placeholders without an input: {sorted(undeclared)}")
    data = [name for name, about in template.inputs.items() if about.kind == "data"]
    if data and DATA_RULE not in " ".join(template.system.split()):
        faults.append(f"{template.reference}: takes data ({', '.join(data)}) but never says that it {DATA_RULE!r}")
    if template.placeholders_of_system() & set(data):
        faults.append(f"{template.reference}: data stands in the system message; it belongs in the user message")
    return tuple(faults)
