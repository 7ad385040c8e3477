"""Acts and targets in words, for people who read a history."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from tracescribe.runs.review import acts

if TYPE_CHECKING:
    from tracescribe.runs.review.states import ReviewState

_SHOWN = 5


def named(target: str, state: ReviewState) -> str:
    """What a target is, with the label that people know it by."""
    kind, _, name = target.partition(":")
    if kind == "report":
        return "the report"
    if kind == "supernode":
        return _supernode(name, state)
    if kind == "edge":
        source, _, destination = name.partition(">")
        return f"{_end(source, state)} → {_end(destination, state)}"
    if kind == "label":
        text = next((one.text for one in state.labels if f"{one.layer}/{one.feature}" == name), None)
        return f"feature {name}" if text is None else f"feature {name} “{text}”"
    return f"{kind} {name}"


def words_of(act: object, state: ReviewState) -> str:
    """An act as a sentence without its subject: `renamed supernode s2 to “Texas”`."""
    return _words(act, state)


@singledispatch
def _words(act: object, state: ReviewState) -> str:
    raise AssertionError(f"acts of kind {type(act).__name__} have no words")


@_words.register(acts.Judge)
def _(act: acts.Judge, state: ReviewState) -> str:
    if act.decision == "open":
        return f"took back the decision about {named(act.target, state)}"
    return f"{act.decision} {named(act.target, state)}"


@_words.register(acts.Comment)
def _(act: acts.Comment, state: ReviewState) -> str:
    return f"said of {named(act.target, state)}: {act.text}"


@_words.register(acts.RelabelFeature)
def _(act: acts.RelabelFeature, state: ReviewState) -> str:
    return f"labelled feature {act.layer}/{act.feature} “{act.text}”"


@_words.register(acts.RenameSupernode)
def _(act: acts.RenameSupernode, state: ReviewState) -> str:
    return f"renamed supernode {act.supernode} to “{act.text}”"


@_words.register(acts.SetRole)
def _(act: acts.SetRole, state: ReviewState) -> str:
    return f"gave {_supernode(act.supernode, state)} the role {act.role}"


@_words.register(acts.MoveNodes)
def _(act: acts.MoveNodes, state: ReviewState) -> str:
    if act.to is None:
        return f"took {_nodes(act.nodes)} out of every supernode"
    return f"moved {_nodes(act.nodes)} into {_supernode(act.to, state)}"


@_words.register(acts.MergeSupernodes)
def _(act: acts.MergeSupernodes, state: ReviewState) -> str:
    merged = ", ".join(_supernode(name, state) for name in act.supernodes[:_SHOWN])
    return f"merged {merged} into {_supernode(act.into, state)}"


@_words.register(acts.SplitSupernode)
def _(act: acts.SplitSupernode, state: ReviewState) -> str:
    return f"split {_nodes(act.nodes)} off {_supernode(act.supernode, state)}, as “{act.label}”"


@_words.register(acts.AddSupernode)
def _(act: acts.AddSupernode, state: ReviewState) -> str:
    return f"made a supernode “{act.label}” ({act.role}) of {_nodes(act.nodes)}"


@_words.register(acts.SetEdge)
def _(act: acts.SetEdge, state: ReviewState) -> str:
    verb = "excites" if act.sign > 0 else "inhibits"
    return f"drew that {_end(act.source, state)} {verb} {_end(act.destination, state)}"


@_words.register(acts.MarkUndecided)
def _(act: acts.MarkUndecided, state: ReviewState) -> str:
    return f"marked {_nodes(act.nodes)} as {'undecided' if act.undecided else 'not undecided any more'}"


@_words.register(acts.Undo)
def _(act: acts.Undo, state: ReviewState) -> str:
    return "undid the act before"


@_words.register(acts.Redo)
def _(act: acts.Redo, state: ReviewState) -> str:
    return "did again what was undone"


@_words.register(acts.Close)
def _(act: acts.Close, state: ReviewState) -> str:
    return f"closed the review: the report is {act.status}"


@_words.register(acts.Reopen)
def _(act: acts.Reopen, state: ReviewState) -> str:
    return "reopened the review"


def _supernode(name: str, state: ReviewState) -> str:
    label = next((one.label for one in state.supernodes if one.supernode_id == name), None)
    return f"supernode {name}" if label is None else f"supernode {name} “{label}”"


def _end(name: str, state: ReviewState) -> str:
    known = any(one.supernode_id == name for one in state.supernodes)
    return _supernode(name, state) if known else f"node {name}"


def _nodes(nodes: tuple[str, ...]) -> str:
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    return f"{'node' if len(nodes) == 1 else 'nodes'} {', '.join(nodes[:_SHOWN])}{more}"
