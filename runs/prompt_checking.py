"""Prompt templates held against their rules, and two versions of them beside each other."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from tracescribe.tracer.errors import InputError


@dataclass(frozen=True)
class PromptCheck:
    """What a check of all templates found.

    Attributes:
        checked: references of all versions.
        faults: in words, each with what to do; empty where nothing is wrong.
        unreleased: versions that `released.json` does not lock yet.
        added: versions that this check has locked.
    """

    checked: tuple[str, ...]
    faults: tuple[str, ...]
    unreleased: tuple[str, ...]
    added: tuple[str, ...]


@dataclass(frozen=True)
class PromptDiff:
    """Two templates beside each other.

    Attributes:
        before, after: references.
        lines: a unified diff of both files, front matter included; empty where they are the same.
    """

    before: str
    after: str
    lines: tuple[str, ...]


def check_prompts(*, write: bool) -> PromptCheck:
    """Check every shipped template, every step between versions, and the hashes of released ones.

    Args:
        write: lock versions that are not locked yet; nothing is locked while there is a fault.

    Raises:
        PromptTemplateError: a file is not a template, or the lock is damaged.
        OutputError: the lock cannot be written.
    """
    from tracescribe.prompts import lint_prompt, lint_versions, list_prompts
    from tracescribe.prompts.released import lock_path, read_released, release, released_faults, unreleased

    templates = list_prompts()
    released = read_released() if not write or lock_path().exists() else {}
    faults = [fault for template in templates for fault in lint_prompt(template)]
    faults += [*lint_versions(templates), *released_faults(templates, released)]
    added = release(templates) if write and not faults else ()
    waiting = tuple(t.reference for t in unreleased(templates, released) if t.reference not in added)
    return PromptCheck(tuple(template.reference for template in templates), tuple(faults), waiting, added)


def diff_prompts(before: str, after: str | None) -> PromptDiff:
    """Two templates as a unified diff.

    Args:
        before: a name or a reference.
        after: another; None compares `before` with the version that came before it.

    Raises:
        UnknownIdError: no such template.
        InputError: there is no version before.
    """
    from tracescribe.prompts import list_prompts, load_prompt, predecessor, prompt_source

    first = load_prompt(before)
    if after is None:
        earlier = predecessor(first, list_prompts())
        if earlier is None:
            raise InputError(f"{first.reference} is the first version; name a second template to compare it with")
        first, second = earlier, first
    else:
        second = load_prompt(after)
    lines = difflib.unified_diff(
        prompt_source(first.reference).splitlines(),
        prompt_source(second.reference).splitlines(),
        first.reference,
        second.reference,
        lineterm="",
    )
    return PromptDiff(first.reference, second.reference, tuple(lines))
