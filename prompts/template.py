"""One prompt template: a Markdown file with front matter, its messages, and how inputs fill its placeholders."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracescribe.prompts.fences import fence, visible
from tracescribe.tracer.errors import InputError, SettingError

_PLACEHOLDER = re.compile(r"\{\{ *([a-z][a-z0-9_]*) *\}\}")
_VALUE = re.compile(r"[A-Za-z0-9_./:@-]{1,64}")
_SECTION = re.compile(r"^## (system|user)$", re.MULTILINE)
DEFAULT_MAX_CHARS = 20_000
"""A data input's longest text: some 5,000 tokens, well above what one feature or one small graph needs."""


class PromptTemplateError(InputError):
    """A template file that cannot be read as one."""


class PromptInput(BaseModel):
    """One input of a template.

    Attributes:
        kind: `data` is untrusted and always fenced; `value` is a number or a plain identifier set in running text.
        about: what it holds, for people.
        max_chars: where a data input is cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["data", "value"]
    about: str = Field(min_length=1)
    max_chars: int = Field(default=DEFAULT_MAX_CHARS, ge=1)


class RenderedPrompt(BaseModel):
    """A filled template, ready to be sent.

    Attributes:
        template: name and version, `label_feature@1.0.0`.
        template_sha256: of the template file, so that a changed wording is a different prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    template_sha256: str
    output_schema: str
    system: str
    user: str


class PromptTemplate(BaseModel):
    """A template and its front matter.

    Attributes:
        name: what code asks for.
        version: semantic: major = the answer's format, minor = what it can do, patch = wording.
        output_schema: name of the schema that an answer is validated by; `none` where the answer is another's.
        change_note: what this version changed, and why.
        sha256: of the file's bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")
    inputs: Mapping[str, PromptInput]
    output_schema: str = Field(pattern=r"^[A-Za-z]+$")
    change_note: str = Field(min_length=1)
    system: str
    user: str
    sha256: str

    @property
    def reference(self) -> str:
        """Name and version in one word."""
        return f"{self.name}@{self.version}"

    @property
    def order(self) -> tuple[int, ...]:
        """The version as numbers, for comparison."""
        return tuple(int(part) for part in self.version.split("."))

    def placeholders(self) -> frozenset[str]:
        """Names that stand in the messages as `{{ name }}`."""
        return self.placeholders_of_system() | frozenset(_PLACEHOLDER.findall(self.user))

    def placeholders_of_system(self) -> frozenset[str]:
        """Those of the system message, where data must not stand."""
        return frozenset(_PLACEHOLDER.findall(self.system))

    def render(self, inputs: Mapping[str, object]) -> RenderedPrompt:
        """Fill the placeholders: data fenced, values checked.

        Args:
            inputs: one entry for each of the template's inputs. Data inputs that are not text are written as JSON.

        Raises:
            SettingError: an input is missing or unknown, or a `value` holds more than a number or an identifier.
        """
        missing, unknown = sorted(set(self.inputs) - set(inputs)), sorted(set(inputs) - set(self.inputs))
        if missing or unknown:
            raise SettingError(
                f"prompt {self.reference}: missing inputs {missing}, unknown inputs {unknown}; "
                f"it takes exactly {sorted(self.inputs)}"
            )
        filled = {name: self._fill(name, inputs[name]) for name in self.inputs}
        return RenderedPrompt(
            template=self.reference,
            template_sha256=self.sha256,
            output_schema=self.output_schema,
            system=_substitute(self.system, filled),
            user=_substitute(self.user, filled),
        )

    def _fill(self, name: str, value: object) -> str:
        about = self.inputs[name]
        if about.kind == "data":
            text = value if isinstance(value, str) else _as_json(value)
            return fence(name, text, max_chars=about.max_chars)
        text = str(value)
        if not _VALUE.fullmatch(text):
            raise SettingError(
                f"prompt {self.reference}: input {name} is {text[:40]!r}, expected a number or an identifier; "
                "text from elsewhere goes into a data input"
            )
        return text


def _as_json(value: object) -> str:
    """JSON, the entries of a list on a line each: easy to read, and short.

    Hidden characters are written out before JSON is made of them, so that it stays JSON.
    """
    value = _visible(value)
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def _visible(value: object) -> object:
    """A JSON value with hidden characters written out in all its texts."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): _visible(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_visible(part) for part in value]
    return value


def _substitute(message: str, filled: Mapping[str, str]) -> str:
    # One pass: what an input holds is never searched for placeholders again.
    return _PLACEHOLDER.sub(lambda match: filled[match.group(1)], message)


def parse_template(content: bytes, where: str) -> PromptTemplate:
    """Read a template file.

    Args:
        content: front matter between `---` lines, then the sections `## system` and `## user`.
        where: the file's name, for messages.

    Raises:
        PromptTemplateError: the front matter or the sections are not as they must be.
    """
    import yaml

    pieces = content.decode().split("---\n", 2)
    if len(pieces) != 3 or pieces[0]:
        raise PromptTemplateError(f"{where}: no front matter; a template starts with '---', fields and '---'")
    try:
        front = yaml.safe_load(pieces[1])
    except yaml.YAMLError as error:
        raise PromptTemplateError(f"{where}: front matter is not YAML: {str(error).splitlines()[0]}") from error
    parts = _SECTION.split(pieces[2])
    if parts[1::2] != ["system", "user"] or parts[0].strip():
        raise PromptTemplateError(f"{where}: found sections {parts[1::2]}, expected '## system' then '## user'")
    try:
        return PromptTemplate.model_validate(
            {
                **(front if isinstance(front, dict) else {}),
                "system": parts[2].strip(),
                "user": parts[4].strip(),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise PromptTemplateError(
            f"{where}: front matter: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
