"""What each act does to a draft, and what it is refused for. An act that would change nothing is refused too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import singledispatch

from tracescribe.agents.findings import Role
from tracescribe.runs.review import acts
from tracescribe.runs.review.drafts import Draft, Ends, GraphNodes, LinkSaid, emptied
from tracescribe.runs.review.errors import ActRefusedError
from tracescribe.runs.review.states import CommentState, DoneAct, LabelState, SupernodeState

_SHOWN = 3


def apply(draft: Draft, done: DoneAct, nodes: GraphNodes | None = None) -> Draft:
    """The draft after an act.

    Args:
        done: the act; of any kind but those that end, reopen or go back in a review.
        nodes: what the act may name of the graph; None asks no more, for acts that were checked when they were saved.

    Raises:
        ActRefusedError: the draft does not allow it, or it would change nothing.
    """
    after = _apply(done.act, draft, done, nodes)
    if nodes is not None and after == draft:
        raise ActRefusedError(f"{done.act.kind}: it is so already; nothing was saved")
    return after


@singledispatch
def _apply(act: object, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    raise AssertionError(f"acts of kind {type(act).__name__} change no draft")


@_apply.register
def _(act: acts.Judge, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    kind, _, name = act.target.partition(":")
    update = {"decision": act.decision}
    if kind == "report":
        return replace(draft, report_decision=act.decision)
    if kind == "supernode":
        return _with_supernodes(draft, {name: _present(draft, name).model_copy(update=update)})
    if kind == "claim":
        if name not in draft.claims:
            raise ActRefusedError(f"the report has no claim {name}; it has {_some(draft.claims)}")
        return replace(draft, claims={**draft.claims, name: draft.claims[name].model_copy(update=update)})
    if kind == "label":
        feature = _feature(name)
        if feature not in draft.labels:
            raise ActRefusedError(f"feature {name} has no label to judge; give it one first")
        return replace(draft, labels={**draft.labels, feature: draft.labels[feature].model_copy(update=update)})
    ends = _ends(name)
    if nodes is not None and ends not in draft.edges:
        raise ActRefusedError(f"there is no link {name} to judge; add it first")
    for end in ends:
        if end in draft.supernodes:
            _present(draft, end)
    return _with_said(draft, ends, replace(draft.said.get(ends, LinkSaid()), decision=act.decision))


@_apply.register
def _(act: acts.Comment, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    _check_target(draft, act.target, nodes)
    comment = CommentState(version=done.version, at=done.at, actor=done.actor, target=act.target, text=act.text)
    return replace(draft, comments=(*draft.comments, comment))


@_apply.register
def _(act: acts.RelabelFeature, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    feature = (act.layer, act.feature)
    before = draft.labels.get(feature)
    if before is None:
        _check_feature(feature, nodes)
        before = LabelState(layer=act.layer, feature=act.feature, text="", text_before=None, decision="open")
    if before.text == act.text:
        return draft
    # what was said of the other words is not said of these
    after = before.model_copy(update={"text": act.text, "decision": "open"})
    return replace(draft, labels={**draft.labels, feature: after})


@_apply.register
def _(act: acts.RenameSupernode, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    return _with_supernodes(
        draft, {act.supernode: _present(draft, act.supernode).model_copy(update={"label": act.text})}
    )


@_apply.register
def _(act: acts.SetRole, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    return _with_supernodes(
        draft, {act.supernode: _present(draft, act.supernode).model_copy(update={"role": act.role})}
    )


@_apply.register
def _(act: acts.MoveNodes, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    moved = _checked(draft, act.nodes, nodes)
    if act.to is None:
        outside = sorted(set(moved) - _members(draft))
        if outside:
            raise ActRefusedError(f"{_some(outside)}: in no supernode, so that there is nothing to take it out of")
        return _without(draft, moved)
    into = _present(draft, act.to)
    there = set(into.members)
    new = [node for node in moved if node not in there]
    if not new:
        return draft
    return _joined(_without(draft, new), into, new)


@_apply.register
def _(act: acts.MergeSupernodes, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    into = _present(draft, act.into)
    if act.into in act.supernodes:
        raise ActRefusedError(f"supernode {act.into} cannot be merged into itself; name another")
    if len(set(act.supernodes)) != len(act.supernodes):
        raise ActRefusedError("a supernode is named twice; name each once")
    new = list(dict.fromkeys(node for name in act.supernodes for node in _present(draft, name).members))
    there = set(into.members)
    return _joined(_without(draft, new), into, [node for node in new if node not in there])


@_apply.register
def _(act: acts.SplitSupernode, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    source = _present(draft, act.supernode)
    chosen = set(act.nodes)
    strangers = sorted(chosen - set(source.members))
    if strangers:
        raise ActRefusedError(f"{_some(strangers)}: not in supernode {act.supernode}; choose among its members")
    if len(chosen) == len(source.members):
        raise ActRefusedError(
            f"all {len(chosen)} members of supernode {act.supernode} were chosen, so that nothing would stay in it; "
            "leave at least 1, or rename it"
        )
    members = [node for node in source.members if node in chosen]
    return _made(_without(draft, members), done.version, act.label, source.role, members)


@_apply.register
def _(act: acts.AddSupernode, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    members = _checked(draft, act.nodes, nodes)
    return _made(_without(draft, members), done.version, act.label, act.role, members)


@_apply.register
def _(act: acts.SetEdge, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    ends = (act.source, act.destination)
    if act.source == act.destination:
        raise ActRefusedError(f"a link from {act.source} to itself says nothing; choose two ends")
    for end, role in zip(ends, ("source", "destination"), strict=True):
        if end in draft.supernodes:
            _present(draft, end)
        elif ends not in draft.edges and nodes is not None and end not in getattr(nodes, f"{role}s"):
            raise ActRefusedError(
                f"{end} can be no {role} of a link: sources are supernodes and embeddings, destinations supernodes and "
                "outputs of the graph"
            )
    before, said = draft.edges.get(ends), draft.said.get(ends, LinkSaid())
    if before is None:
        return _with_said(draft, ends, LinkSaid(sign=act.sign))
    if before.sign == act.sign and before.decision != "rejected" and (said.sign or not before.stale):
        return draft
    # whoever draws a rejected link wants it back
    decision = "open" if before.decision == "rejected" or before.sign != act.sign else before.decision
    return _with_said(draft, ends, LinkSaid(decision, act.sign))


@_apply.register
def _(act: acts.MarkUndecided, draft: Draft, done: DoneAct, nodes: GraphNodes | None) -> Draft:
    marked = _checked(draft, act.nodes, nodes)
    if not act.undecided:
        return _decided(draft, marked)
    return replace(_without(draft, marked), undecided=tuple(dict.fromkeys((*draft.undecided, *marked))))


# -- inside -----------------------------------------------------------------------------------------------------------


def _present(draft: Draft, name: str) -> SupernodeState:
    found = draft.supernodes.get(name)
    if found is None:
        raise ActRefusedError(
            f"there is no supernode {name}; there are {_some(s.supernode_id for s in draft.standing())}"
        )
    if found.gone:
        raise ActRefusedError(f"supernode {name} is gone: it was merged into another or emptied; undo that first")
    return found


def _with_said(draft: Draft, ends: Ends, said: LinkSaid) -> Draft:
    """What is said of a link; nothing is kept of one of which nothing is said any more."""
    rest = {name: one for name, one in draft.said.items() if name != ends}
    return replace(draft, said=rest if said == LinkSaid() else {**rest, ends: said})


def _with_supernodes(draft: Draft, changed: Mapping[str, SupernodeState]) -> Draft:
    return replace(draft, supernodes={**draft.supernodes, **changed})


def _members(draft: Draft) -> set[str]:
    return {node for supernode in draft.standing() for node in supernode.members}


def _without(draft: Draft, nodes: Sequence[str]) -> Draft:
    """Nodes taken out of every supernode."""
    leaving = set(nodes)
    return replace(draft, supernodes={name: emptied(one, leaving) for name, one in draft.supernodes.items()})


def _joined(draft: Draft, into: SupernodeState, new: Sequence[str]) -> Draft:
    """Nodes that are nowhere put into a supernode: those of the report in its order, the others behind."""
    every, before = {*into.members, *new}, set(into.members_before)
    ordered = [node for node in into.members_before if node in every]
    ordered += [node for node in (*into.members, *new) if node not in before]
    changed = into.model_copy(update={"members": tuple(dict.fromkeys(ordered))})
    return _decided(_with_supernodes(draft, {into.supernode_id: changed}), new)


def _made(draft: Draft, version: int, label: str, role: Role, members: Sequence[str]) -> Draft:
    name = f"n{version}"
    made = SupernodeState(
        supernode_id=name,
        label=label,
        label_before=None,
        role=role,
        role_before=None,
        members=tuple(members),
        members_before=(),
        decision="open",
        rejected_by_report=False,
        gone=False,
    )
    return _decided(_with_supernodes(draft, {name: made}), members)


def _decided(draft: Draft, nodes: Sequence[str]) -> Draft:
    """Whoever puts a node into a supernode has decided about it."""
    if not draft.undecided:
        return draft
    out = set(nodes)
    return replace(draft, undecided=tuple(node for node in draft.undecided if node not in out))


def _checked(draft: Draft, told: Sequence[str], nodes: GraphNodes | None) -> list[str]:
    """Node ids, each once, all of them features of the graph."""
    found = list(dict.fromkeys(told))
    if nodes is not None:
        known = nodes.features | _members(draft) | set(draft.undecided)
        strangers = [node for node in found if node not in known]
        if strangers:
            raise ActRefusedError(f"{_some(strangers)}: no feature node of this report's graph")
    return found


def _check_feature(feature: tuple[int, int], nodes: GraphNodes | None) -> None:
    beginning = f"{feature[0]}_{feature[1]}_"
    if nodes is not None and not any(node.startswith(beginning) for node in nodes.features):
        raise ActRefusedError(f"feature {feature[0]}/{feature[1]} does not fire in this report's graph")


def _check_target(draft: Draft, target: str, nodes: GraphNodes | None) -> None:
    kind, _, name = target.partition(":")
    if kind == "supernode" and name not in draft.supernodes:
        _present(draft, name)
    if kind == "claim" and name not in draft.claims:
        raise ActRefusedError(f"the report has no claim {name}; it has {_some(draft.claims)}")
    if kind == "label" and _feature(name) not in draft.labels:
        _check_feature(_feature(name), nodes)
    if kind == "edge" and nodes is not None and _ends(name) not in draft.edges:
        raise ActRefusedError(f"there is no link {name}; add it first")


def _feature(name: str) -> tuple[int, int]:
    layer, _, feature = name.partition("/")
    return int(layer), int(feature)


def _ends(name: str) -> tuple[str, str]:
    source, _, destination = name.partition(">")
    return source, destination


def _some(names: Iterable[str]) -> str:
    """The first few of some names, for a message."""
    every = list(names)
    if not every:
        return "none"
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return ", ".join(every[:_SHOWN]) + more
