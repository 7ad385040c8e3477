"""The drawing: nothing overlaps, nothing is hidden, everything is inside, and it is well-formed SVG."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from tracescribe.agents.findings import Role
from tracescribe.agents.rendering import render_svg
from tracescribe.agents.rendering.boxes import LABEL_SIZE, PAD, Box
from tracescribe.agents.rendering.circuit import Circuit, Link, Output, Step, Token, circuit_of
from tracescribe.agents.rendering.layout import MAX_BANDS, Placement, lay_out
from tracescribe.agents.rendering.routes import THINNEST, WIDEST, route
from tracescribe.agents.rendering.visible_text import text_width
from tracescribe.agents.report import CircuitReport

SVG = "{http://www.w3.org/2000/svg}"
ROLES: tuple[Role, ...] = ("input", "intermediate", "relation", "output", "suppressor", "other")
words = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Circuits of any shape: crowded cells, deep models, long words, links in all directions."""
    n_tokens = draw(st.integers(1, 14))
    tokens = tuple(Token(f"E_{i}", i, draw(words)) for i in range(n_tokens))
    layers = st.integers(0, draw(st.sampled_from([1, 4, 30])))
    steps = tuple(
        Step(
            f"s{i}",
            draw(words),
            draw(st.sampled_from(ROLES)),
            draw(st.integers(0, n_tokens - 1)),
            layer,
            (0, 40),
            0.1,
            (),
        )
        for i, layer in enumerate(draw(st.lists(layers, max_size=14)))
    )
    outputs = tuple(Output(f"o{i}", draw(words), 0.5) for i in range(draw(st.integers(0, 4))))
    step_names = [step.node for step in steps]
    names = [token.node for token in tokens] + step_names
    targets = step_names + [output.node for output in outputs]
    links: dict[tuple[str, str], Link] = {}
    if targets:
        pairs = st.tuples(st.sampled_from(names), st.sampled_from(targets), st.sampled_from([-2.0, 0.1, 1.0]))
        for source, destination, weight in draw(st.lists(pairs, max_size=8)):
            if source != destination:
                links[source, destination] = Link(source, destination, weight, "supported", "c1")
    return Circuit(tokens, steps, outputs, tuple(links.values()), 0)


def _spot(x: float, y: float) -> Box:
    return Box(x, y, 0.0, 0.0)


def _all_boxes(placement: Placement) -> list[Box]:
    return [*placement.boxes.values(), *(fold.box for fold in placement.folds)]


@settings(max_examples=60, deadline=None)
@given(circuits())
def test_no_two_boxes_touch_and_all_are_inside(circuit: Circuit) -> None:
    placement = lay_out(circuit)
    for a, b in itertools.combinations(_all_boxes(placement), 2):
        assert not a.overlaps(b, gap=4)
    for box in _all_boxes(placement):
        assert box.x >= 0 and box.y >= 0 and box.right <= placement.width and box.bottom <= placement.height


@settings(max_examples=30, deadline=None)
@given(circuits())
def test_text_fits_its_box(circuit: Circuit) -> None:
    placement = lay_out(circuit)
    for step in circuit.steps:
        room = placement.boxes[step.node].width - 2 * PAD + 0.01
        assert all(text_width(line, LABEL_SIZE, bold=True) <= room for line in placement.lines[step.node])
    for token in circuit.tokens:
        if token.node in placement.boxes:
            assert text_width(placement.lines[token.node][0], LABEL_SIZE) <= placement.boxes[token.node].width


@settings(max_examples=30, deadline=None)
@given(circuits())
def test_links_start_and_end_at_their_boxes(circuit: Circuit) -> None:
    placement = lay_out(circuit)
    outputs = frozenset(output.node for output in circuit.outputs)
    for item in route(circuit.links, placement, outputs):
        start = [float(v) for v in re.findall(r"[-\d.]+", item.path)[:2]]
        tip = [float(v) for v in item.arrow.split()[0].split(",")]
        assert placement.boxes[item.link.source].overlaps(_spot(start[0], start[1]), gap=2)
        assert placement.boxes[item.link.destination].overlaps(_spot(tip[0], tip[1]), gap=2)
        assert THINNEST <= item.width <= WIDEST


def test_higher_layers_stand_higher_and_later_tokens_further_right(dallas_report: CircuitReport) -> None:
    circuit = circuit_of(dallas_report)
    placement = lay_out(circuit)
    for a, b in itertools.permutations(circuit.steps, 2):
        if a.layer < b.layer:
            assert placement.boxes[a.node].y > placement.boxes[b.node].bottom
        if a.position < b.position:
            assert placement.boxes[a.node].right < placement.boxes[b.node].x
    tokens = [placement.boxes[token.node] for token in circuit.tokens]
    assert all(a.right < b.x for a, b in itertools.pairwise(tokens))
    assert all(placement.boxes[output.node].bottom < tokens[0].y for output in circuit.outputs)


def _points(path: str) -> list[tuple[float, float]]:
    """Points along a drawn path of cubic curves, read from its SVG text."""
    numbers = [float(v) for v in re.findall(r"[-\d.]+", path)]
    corners = list(zip(numbers[::2], numbers[1::2], strict=True))
    points: list[tuple[float, float]] = []
    for first in range(0, len(corners) - 1, 3):
        curve = corners[first : first + 4]
        for i in range(61):
            t = i / 60
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            x = sum(w * corner[0] for w, corner in zip(weights, curve, strict=True))
            y = sum(w * corner[1] for w, corner in zip(weights, curve, strict=True))
            points.append((x, y))
    return points


def _hidden(circuit: Circuit) -> list[str]:
    """Links that run behind a box that is neither of their ends."""
    placement = lay_out(circuit)
    routes = route(circuit.links, placement, frozenset(output.node for output in circuit.outputs))
    assert len(routes) == len(circuit.links)
    return [
        f"{item.link.source} -> {item.link.destination} behind {node}"
        for item in routes
        for node, box in placement.boxes.items()
        if node not in (item.link.source, item.link.destination)
        and any(box.overlaps(_spot(x, y)) for x, y in _points(item.path))
    ]


def test_no_line_runs_behind_a_box_it_does_not_belong_to(
    dallas_report: CircuitReport, report_maker: Callable[..., CircuitReport]
) -> None:
    assert _hidden(circuit_of(dallas_report)) == []
    skipping = [("E_90_7", "5_40_8", 1.0), ("E_17_2", "5_40_8", 1.0), ("E_21_5", "s5", 1.0), ("E_9_8", "5_40_8", 2.0)]
    past_boxes = report_maker(edges=[*((e.source, e.destination, e.weight) for e in dallas_report.edges), *skipping])
    assert _hidden(circuit_of(past_boxes)) == []


def test_bands_of_a_deep_model_are_merged(hostile_report: CircuitReport) -> None:
    placement = lay_out(circuit_of(hostile_report))
    assert len(placement.bands) == MAX_BANDS
    assert any("–" in band.name for band in placement.bands)


def test_long_idle_stretches_of_a_prompt_are_folded(report_maker: Callable[..., CircuitReport]) -> None:
    tokens = ("<bos>", *("word" for _ in range(20)), "Dallas", "is")
    report = report_maker(tokens=tokens, edges=(("s1", "s2", 1.0),))
    placement = lay_out(circuit_of(report))
    assert [len(fold.texts) for fold in placement.folds] == [14]


def test_file_is_well_formed_and_shows_every_step_and_verdict(
    dallas_report: CircuitReport, hostile_report: CircuitReport
) -> None:
    for report in (dallas_report, hostile_report):
        root = ElementTree.fromstring(render_svg(report))
        classes = [node.get("class", "") for node in root.iter()]
        assert len([c for c in classes if c.startswith("step ")]) == len(report.supernodes)
        assert not [node for node in root.iter() if node.tag in (f"{SVG}script", f"{SVG}image", f"{SVG}a", f"{SVG}use")]
        assert not [name for node in root.iter() for name in node.attrib if name.startswith("on") or "href" in name]
    text = render_svg(dallas_report)
    assert text.count('class="badge"') == 2  # the two claims about connections
    assert "is-supported" in text and "is-refuted" in text and "is-inconclusive" in text


def test_inhibiting_links_are_dashed_not_only_coloured(dallas_report: CircuitReport) -> None:
    text = render_svg(dallas_report)
    assert text.count('class="link hinders"') == sum(edge.weight < 0 for edge in dallas_report.edges)
    assert re.search(r"\.hinders \.line \{[^}]*stroke-dasharray", text)


def test_strongest_links_are_drawn_and_the_rest_is_counted(report_maker: Callable[..., CircuitReport]) -> None:
    edges = [(f"s{i}", f"s{j}", 1.0 + 7 * i + j) for i in range(7) for j in range(7) if i != j]
    circuit = circuit_of(report_maker(edges=[*edges, *((f"E_{i}_{i}", "s0", 0.1 * i + 0.1) for i in range(9))]))
    assert len(circuit.links) + circuit.undrawn == len(edges) + 9
    assert circuit.undrawn > 0
    assert {link.source for link in circuit.links} >= {f"s{i}" for i in range(7)}
