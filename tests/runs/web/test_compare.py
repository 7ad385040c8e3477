"""Two reports held against each other: what is matched, what differs, and what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.runs.web.stored_reports import AGENTS, bring, report_of
from tests.runs.web.visitors import new_store, visitor
from tracescribe.agents.report import CircuitReport
from tracescribe.runs.store.database import Store
from tracescribe.runs.web.app import create_app
from tracescribe.runs.web.member_map import member_map
from tracescribe.runs.web.report_pair import compare_pair
from tracescribe.tracer.graph import AttributionGraph
from tracescribe.tracer.models import LanguageModel
from tracescribe.tracer.transcoders import TranscoderSet


@pytest.fixture(scope="module")
def reports(dallas_graph: AttributionGraph) -> dict[str, CircuitReport]:
    """By agent."""
    return {agent: report_of(dallas_graph, agent) for agent in AGENTS}


@pytest.fixture(scope="module")
def cases(
    store: Store,
    reports: dict[str, CircuitReport],
    dallas_graph: AttributionGraph,
    embedded_model: LanguageModel,
    embedded_transcoders: TranscoderSet,
) -> dict[str, str]:
    """Case ids by agent, and of one report on another prompt."""
    from tracescribe.tracer.attribution import attribute

    found = {agent: bring(store, report, dallas_graph) for agent, report in reports.items()}
    graph = attribute(embedded_model, embedded_transcoders, "the opposite of big is")
    return {**found, "elsewhere": bring(store, report_of(graph, "offline"), graph)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """For the reports."""
    with new_store(tmp_path_factory.mktemp("compared")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    """The person at this machine."""
    return visitor(create_app(store))


def test_a_report_is_like_itself(reports: dict[str, CircuitReport]) -> None:
    told = compare_pair(reports["offline"], reports["offline"])
    assert (told.likeness.features, told.likeness.groups, told.likeness.labels) == (1.0, 1.0, 1.0)
    assert all(pair.jaccard == 1.0 for pair in told.supernodes)
    for pairs in (told.labels, told.links, told.claims):
        assert [pair.a for pair in pairs] == [pair.b for pair in pairs]


def test_a_comparison_the_other_way_round_says_the_same(reports: dict[str, CircuitReport]) -> None:
    one, other = (compare_pair(reports[a], reports[b]) for a, b in (("offline", "random"), ("random", "offline")))
    assert one.likeness == other.likeness
    assert {(p.layer, p.feature, p.a, p.b) for p in one.labels} == {
        (p.layer, p.feature, p.b, p.a) for p in other.labels
    }
    assert len(one.claims) == len(other.claims)
    count = [sum(pair.a is not None and pair.b is not None for pair in told.supernodes) for told in (one, other)]
    assert count[0] == count[1]


def test_every_supernode_and_claim_is_told_once(reports: dict[str, CircuitReport]) -> None:
    for a, b in (("offline", "influence"), ("influence", "random")):
        told = compare_pair(reports[a], reports[b])
        for side, agent in (("a", a), ("b", b)):
            nodes = [getattr(pair, side).supernode_id for pair in told.supernodes if getattr(pair, side)]
            assert sorted(nodes) == sorted(node.supernode_id for node in reports[agent].supernodes)
            claims = [getattr(pair, side).claim_id for pair in told.claims if getattr(pair, side)]
            assert sorted(claims) == sorted(claim.claim_id for claim in reports[agent].claims)
            links = [pair for pair in told.links if getattr(pair, side) is not None]
            assert len(links) == len({(edge.source, edge.destination) for edge in reports[agent].edges})


def test_a_claim_of_renamed_supernodes_is_the_same_and_opposed_verdicts_come_first(
    reports: dict[str, CircuitReport],
) -> None:
    first = reports["offline"]
    document = first.model_dump_json()
    n = len(first.supernodes)
    for number in range(1, n + 1):  # s1, s2, s3 -> s91, s92, s93
        document = document.replace(f'"s{number}"', f'"s9{number}"')
    renamed = CircuitReport.model_validate_json(document)
    assert compare_pair(first, renamed).claims == tuple(pair.model_copy() for pair in compare_pair(first, first).claims)
    claim = first.claims[-1].claim_id
    verdicts = [
        tuple(
            verdict.model_copy(update={"outcome": outcome}) if verdict.claim_id == claim else verdict
            for verdict in report.verdicts
        )
        for report, outcome in ((first, "supported"), (renamed, "refuted"))
    ]
    told = compare_pair(
        first.model_copy(update={"verdicts": verdicts[0]}), renamed.model_copy(update={"verdicts": verdicts[1]})
    )
    assert [pair.a.claim_id if pair.a else None for pair in told.claims if pair.differs] == [claim]
    assert told.claims[0].differs


def test_features_of_other_transcoders_are_not_matched(reports: dict[str, CircuitReport]) -> None:
    first = reports["offline"]
    other = first.model_copy(update={"provenance": first.provenance.model_copy(update={"transcoder_sha256": "0" * 64})})
    told = compare_pair(first, other)
    assert not told.same_features and told.likeness.features is None
    assert all(pair.a is None or pair.b is None for pair in told.supernodes)


def test_the_map_has_a_mark_for_every_feature_inside_of_it(reports: dict[str, CircuitReport]) -> None:
    drawn = member_map(reports["offline"], reports["random"])
    members = [
        {
            (m.layer, m.position, m.feature)
            for node in reports[agent].supernodes
            if not node.rejected
            for m in node.members
        }
        for agent in ("offline", "random")
    ]
    assert len(drawn.dots) + drawn.hidden == len(members[0] | members[1])
    assert sum(dot.where == "both" for dot in drawn.dots) <= len(members[0] & members[1])
    assert all(0 < dot.x < drawn.width and 0 < dot.y < drawn.height for dot in drawn.dots)
    assert len({(dot.x, dot.y) for dot in drawn.dots}) == len(drawn.dots)


def test_over_http(client: TestClient, cases: dict[str, str]) -> None:
    answer = client.get("/api/compare", params={"a": cases["offline"], "b": cases["influence"]})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["a"]["agent"], told["b"]["agent"], told["answer"]) == ("offline", "influence", "Austin")
    page = client.get("/compare", params={"a": cases["offline"], "b": cases["influence"]})
    assert page.status_code == 200 and "Features of both circuits" in page.text
    boxes = client.get("/compare", params={"report": [cases["offline"], cases["random"]]})
    assert "Features of both circuits" in boxes.text


@pytest.mark.parametrize(
    ("a", "b", "status", "kind"),
    [
        ("offline", "elsewhere", 422, "different prompts"),
        ("offline", "offline", 422, "one report"),
        ("offline", "nothing", 404, "not found"),
    ],
)
def test_what_cannot_be_compared_is_told(
    client: TestClient, cases: dict[str, str], a: str, b: str, status: int, kind: str
) -> None:
    ids = {**cases, "nothing": "nosuchcase00.0"}
    answer = client.get("/api/compare", params={"a": ids[a], "b": ids[b]})
    assert (answer.status_code, answer.json()["error"]) == (status, kind)
    page = client.get("/compare", params={"a": ids[a], "b": ids[b]})
    assert page.status_code == 422
    assert answer.json()["message"].split(";")[0][:40] in page.text.replace("&#39;", "'")
    assert "<option" in page.text, "others on the prompt can be chosen"


def test_without_a_choice_the_prompts_with_several_reports_are_offered(
    client: TestClient, cases: dict[str, str]
) -> None:
    page = client.get("/compare").text
    assert "the capital of the state containing Dallas is" in page and "3 reports" in page
    assert "the opposite of big is" not in page
