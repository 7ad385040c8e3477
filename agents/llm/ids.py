"""Feature ids as language models read and write them: `layer/feature`, and `layer/feature@position` for one token."""

from __future__ import annotations

import re

from tracescribe.tracer.graph import FeatureNode, FeatureRef

_FEATURE = re.compile(r"([0-9]{1,9})/([0-9]{1,9})(?:@([0-9]{1,9}))?")


def node_id(node: FeatureNode) -> str:
    """A feature at one position."""
    return f"{node.ref}@{node.position}"


def read_node(text: str) -> FeatureNode | None:
    """The feature at one position that a text names; None where it names none."""
    match = _FEATURE.fullmatch(text.strip())
    if match is None or match.group(3) is None:
        return None
    return FeatureNode(int(match.group(1)), int(match.group(3)), int(match.group(2)))


def read_ref(text: str) -> FeatureRef | None:
    """The feature that a text names, with or without a position; None where it names none."""
    match = _FEATURE.fullmatch(text.strip())
    return None if match is None else FeatureRef(int(match.group(1)), int(match.group(2)))
