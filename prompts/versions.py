"""What the numbers of a version promise, checked between each version of a template and the one before it.

major = the answer's format changed, minor = the template can do more (other inputs), patch = wording alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from tracescribe.prompts.template import PromptTemplate

MIN_ABOUT_CHARS = 8
"""Shorter than this, the description of an input only repeats its name."""


def lint_versions(templates: Iterable[PromptTemplate]) -> tuple[str, ...]:
    """What is wrong between the versions of templates; empty where nothing is.

    Args:
        templates: in any order; all versions of a name are compared with each other.
    """
    ordered = sorted(templates, key=lambda template: (template.name, template.order))
    faults: list[str] = []
    for _, group in groupby(ordered, key=lambda template: template.name):
        versions = list(group)
        faults += _repeated_notes(versions)
        for earlier, later in pairwise(versions):
            faults += _step_faults(earlier, later)
        for version in versions:
            faults += _undocumented(version)
    return tuple(faults)


def predecessor(template: PromptTemplate, templates: Iterable[PromptTemplate]) -> PromptTemplate | None:
    """The version before this one, or None for the first."""
    earlier = [other for other in templates if other.name == template.name and other.order < template.order]
    return max(earlier, key=lambda other: other.order, default=None)


def _step_faults(earlier: PromptTemplate, later: PromptTemplate) -> list[str]:
    step = f"{later.reference} after {earlier.version}"
    faults: list[str] = []
    if later.output_schema != earlier.output_schema and later.order[0] == earlier.order[0]:
        faults.append(
            f"{step}: the answer's schema changed from {earlier.output_schema} to {later.output_schema}, "
            f"which is a major change: name it {later.order[0] + 1}.0.0"
        )
    if set(later.inputs) != set(earlier.inputs) and later.order[:2] == earlier.order[:2]:
        changed = ", ".join(sorted(set(later.inputs) ^ set(earlier.inputs)))
        faults.append(
            f"{step}: inputs came or went ({changed}), which is at least a minor change: "
            f"name it {later.order[0]}.{later.order[1] + 1}.0"
        )
    if (later.system, later.user) == (earlier.system, earlier.user) and later.inputs == earlier.inputs:
        faults.append(f"{step}: nothing changed; leave it out")
    return faults


def _repeated_notes(versions: Sequence[PromptTemplate]) -> list[str]:
    said: dict[str, str] = {}
    faults: list[str] = []
    for version in versions:
        note = " ".join(version.change_note.split()).lower()
        if note in said:
            faults.append(
                f"{version.reference}: the change note is that of {said[note]}; say what this version changed"
            )
        said.setdefault(note, version.reference)
    return faults


def _undocumented(version: PromptTemplate) -> list[str]:
    return [
        f"{version.reference}: input {name} is not documented; say in a few words what it holds"
        for name, about in version.inputs.items()
        if len(about.about.strip()) < MIN_ABOUT_CHARS or about.about.strip().lower() == name.replace("_", " ")
    ]
