"""From an answer to supernodes: whatever a model says, no feature stands twice and no supernode mixes kinds."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.agents.claims import FeatureAt
from tracescribe.agents.findings import Role, Supernode
from tracescribe.agents.grouping.supernodes import SAYING
from tracescribe.agents.llm.answers import NewSupernodeAnswer, SupernodeAnswer
from tracescribe.agents.llm.groups import Members, formed_groups, new_supernodes
from tracescribe.agents.llm.ids import node_id, read_node, read_ref
from tracescribe.tracer.graph import FeatureNode, FeatureRef

ROLES: tuple[Role, ...] = ("input", "output", "intermediate", "suppressor")


def group(number: int, size: int) -> Supernode:
    """Candidate `s{number}`: its members differ from every other group's."""
    members = tuple(FeatureAt(layer=number, position=i, feature=10 * number + i) for i in range(size))
    role = ROLES[number % len(ROLES)]
    return Supernode(supernode_id=f"s{number}", label=f"g{number}", role=role, members=members)


CANDIDATES = tuple(group(number, 1 + number % 4) for number in range(1, 9))
INFLUENCE = {m.node: 0.01 * (m.feature + 1) for g in CANDIDATES for m in g.members}
KIND = {m.node: g.role in SAYING for g in CANDIDATES for m in g.members}
NAMES = [node_id(node) for node in INFLUENCE] + ["9/9@9", "3/30", "rubbish", ""]
GROUPS = [g.supernode_id for g in CANDIDATES] + ["s99", "s1 "]

answers = st.lists(
    st.builds(
        SupernodeAnswer,
        groups=st.lists(st.sampled_from(GROUPS), min_size=1, max_size=4),
        members=st.lists(st.sampled_from(NAMES), max_size=5),
        label=st.just("a name"),
        role=st.sampled_from(ROLES),
    ),
    max_size=6,
)


def check(supernodes: tuple[Supernode, ...]) -> None:
    """What holds of every set of supernodes."""
    nodes = [member.node for supernode in supernodes for member in supernode.members]
    assert len(nodes) == len(set(nodes)) and set(nodes) <= set(INFLUENCE)
    ids = [supernode.supernode_id for supernode in supernodes]
    assert len(ids) == len(set(ids))
    for supernode in supernodes:
        kinds = {KIND[member.node] for member in supernode.members}
        assert kinds == {supernode.role in SAYING}
        total = sum(INFLUENCE[member.node] for member in supernode.members)
        assert abs(supernode.influence - total) < 1e-12


def formed(given_answers: list[SupernodeAnswer]) -> tuple[tuple[Supernode, ...], list[str]]:
    """The supernodes, and what was told."""
    numbers = itertools.count(100)
    found, failures = formed_groups(CANDIDATES, given_answers, INFLUENCE, lambda: f"s{next(numbers)}")
    return found, [failure.error for failure in failures]


@given(answers)
@settings(max_examples=150, deadline=None)
def test_whatever_is_answered_kinds_are_pure_and_no_feature_stands_twice(given_answers: list[SupernodeAnswer]) -> None:
    found, _ = formed(given_answers)
    check(found)
    assert [s.influence for s in found] == sorted((s.influence for s in found), reverse=True)
    named = {g for answer in given_answers for g in answer.groups}
    for supernode in found:
        for member in supernode.members:
            home = next(g.supernode_id for g in CANDIDATES if member in g.members)
            assert home in named or any(node_id(member.node) in a.members for a in given_answers)


def answer(
    label: str, role: Role, groups: list[str] | None = None, members: list[str] | None = None
) -> SupernodeAnswer:
    """One supernode of an answer."""
    return SupernodeAnswer(groups=groups or [], members=members or [], label=label, role=role)


def test_groups_as_they_are_give_themselves() -> None:
    found, told = formed([answer(g.label, g.role, [g.supernode_id]) for g in CANDIDATES])
    assert told == []
    assert {s.supernode_id: s.members for s in found} == {g.supernode_id: g.members for g in CANDIDATES}


def test_a_group_is_split_by_naming_members_and_the_rest_is_left_out() -> None:
    first, second, third = [node_id(member.node) for member in CANDIDATES[1].members]
    found, told = formed([answer("one", "intermediate", members=[first]), answer("two", "input", members=[third])])
    assert told == []
    assert {s.label: [node_id(m.node) for m in s.members] for s in found} == {"one": [first], "two": [third]}
    assert {s.supernode_id for s in found} == {"s2", "s100"}, "one part keeps the id, the other gets a new one"
    assert second not in {node_id(m.node) for s in found for m in s.members}


def test_a_member_taken_out_leaves_the_rest_of_its_group_usable() -> None:
    first = node_id(CANDIDATES[1].members[0].node)
    found, told = formed([answer("one", "input", members=[first]), answer("rest", "input", ["s2"])])
    assert told == []
    assert sorted(len(s.members) for s in found) == [1, 2]


def test_groups_of_one_kind_are_merged_and_renamed() -> None:
    found, told = formed([answer("Texas", "intermediate", ["s2", "s6"])])
    (texas,) = found
    assert told == [] and texas.supernode_id == "s2" and texas.label == "Texas"
    assert [m.node for m in texas.members] == [m.node for g in (CANDIDATES[1], CANDIDATES[5]) for m in g.members]


def test_what_breaks_a_rule_is_told() -> None:
    found, told = formed([answer("mixed", "output", ["s2", "s1", "s99"], ["9/9@9", "2/20@0"])])
    (kept,) = found
    assert kept.role == "intermediate", "the graph decides whether it says or reads"
    assert " | ".join(told) == (
        "dropped: group s1 says words and 2/20@0 reads them, or the reverse | dropped: group 's99' is unknown | "
        "dropped: feature '9/9@9' is unknown | dropped: feature 2/20@0 is used twice"
    )


def test_a_flood_of_faults_is_told_in_a_few_lines() -> None:
    _, told = formed([answer("x", "other", ["s99"]) for _ in range(1000)])
    assert len(told) == 21 and told[-1] == "and 980 more faults of the same answer"


@given(
    st.lists(
        st.builds(
            NewSupernodeAnswer,
            id=st.sampled_from(["n1", "n2", "s1", "s2"]),
            members=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
            label=st.just("a name"),
            role=st.sampled_from(ROLES),
        ),
        max_size=6,
    ),
    st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_regrouped_features_keep_the_same_rules(given_answers: list[NewSupernodeAnswer], most: int) -> None:
    numbers = itertools.count(100)
    members = Members({m.node: g.role for g in CANDIDATES for m in g.members}, INFLUENCE)
    existing = CANDIDATES[:2]
    made, _ = new_supernodes(given_answers, members, lambda: f"s{next(numbers)}", existing=existing, most=most)
    check(tuple(made.values()))
    assert len(made) <= most and not {"s1", "s2"} & set(made)
    sets = [frozenset(s.members) for s in (*existing, *made.values())]
    assert len(sets) == len(set(sets)), "the members of a supernode that stands are nothing new"


def test_ids_are_read_as_they_are_written() -> None:
    node = FeatureNode(3, 5, 17)
    assert node_id(node) == "3/17@5" and read_node("3/17@5") == node and read_node(" 3/17@5 ") == node
    assert read_ref("3/17") == read_ref("3/17@5") == FeatureRef(3, 17)
    for wrong in ("", "3/17", "3/17@", "-3/17@5", "3/17@5@5", "3/1\u0667@5", "3/17@" + "9" * 30):
        assert read_node(wrong) is None
