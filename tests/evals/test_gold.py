"""The gold schema: what it refuses, and what its messages say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracescribe.evals.gold import GoldCircuit, check_circuit, check_stamp, parse_gold, read_gold
from tracescribe.tracer.errors import GoldFormatError, UnknownIdError
from tracescribe.tracer.graph import AttributionGraph


def test_a_circuit_survives_a_round_trip(small_gold: GoldCircuit) -> None:
    gold = parse_gold(small_gold.model_dump_json())
    assert gold.circuits == (small_gold,)
    assert gold.circuit("small-01") == small_gold
    assert gold.of_prompt("x y z") == small_gold
    assert gold.of_prompt("another") is None
    with pytest.raises(UnknownIdError, match="'small-02' is not in set"):
        gold.circuit("small-02")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": 3}, r"prompt: Input should be a valid string"),
        ({"gold_id": "../../etc"}, r"gold_id: String should match pattern"),
        ({"supernodes": [{"supernode_id": "g1"}]}, r"supernodes\[0\]\.label: Field required"),
        ({"targets": []}, r"targets: none are told"),
        ({"selected": ["0_1_1", "0_2_1"]}, r"circuits\[0\]\.supernodes\[1\]\.members: 1_3_2 is not selected"),
        ({"undecided": ["0_1_1"]}, r"circuits\[0\]\.undecided: 0_1_1 is also selected"),
        ({"edges": [{"source": "g9", "destination": "g1"}]}, r"edges\[0\]\.source: g9 is no supernode"),
        ({"effects": [{"supernode": "g9", "target_token": "x"}]}, r"effects\[0\]\.supernode: g9 is no supernode"),
        ({"surprise": 1}, r"surprise: Extra inputs are not permitted"),
    ],
)
def test_a_fault_is_told_with_its_place(small_gold: GoldCircuit, change: dict[str, object], message: str) -> None:
    document = small_gold.model_dump(mode="json") | change
    with pytest.raises(GoldFormatError, match=message) as caught:
        parse_gold(json.dumps(document))
    assert "\n" not in str(caught.value)


def test_repeated_supernode_ids_are_refused(small_gold: GoldCircuit) -> None:
    document = small_gold.model_dump(mode="json")
    document["supernodes"].append(document["supernodes"][0])
    with pytest.raises(GoldFormatError, match="supernodes: id g1 is used twice"):
        parse_gold(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "[" * 100_000, '"gold"', "null"])
def test_what_is_no_gold_is_refused(text: str) -> None:
    with pytest.raises(GoldFormatError):
        parse_gold(text)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(GoldFormatError, match="No such file or directory"):
        read_gold(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe")
    with pytest.raises(GoldFormatError, match="not UTF-8 text"):
        read_gold(tmp_path / "latin.json")


def test_members_must_be_in_the_graph(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    check_circuit(small_gold, small_graph)
    stranger = small_gold.supernodes[1].model_copy(update={"members": ("1_99_2",)})
    supernodes = (small_gold.supernodes[0], stranger, small_gold.supernodes[2])
    changed = small_gold.model_copy(
        update={"supernodes": supernodes, "selected": ("0_1_1", "0_2_1", "1_99_2", "2_5_3")}
    )
    with pytest.raises(GoldFormatError, match="selected: 1_99_2 is not in the graph"):
        check_circuit(changed, small_graph)


def test_gold_of_another_prompt_is_refused(small_gold: GoldCircuit, small_graph: AttributionGraph) -> None:
    with pytest.raises(GoldFormatError, match="tokens: gold has 2"):
        check_circuit(small_gold.model_copy(update={"tokens": ("<bos>", "x")}), small_graph)


def test_other_weights_are_refused(small_gold: GoldCircuit) -> None:
    check_stamp(small_gold, "a" * 64, "b" * 64)
    check_stamp(small_gold, None, None)
    with pytest.raises(GoldFormatError, match="transcoder weights are cccccccccccc, gold was made for bbbbbbbbbbbb"):
        check_stamp(small_gold, "a" * 64, "c" * 64)
