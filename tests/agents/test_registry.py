"""The claim registry: order is enforced, and tampering with the log shows."""

from __future__ import annotations

import pytest

from tracescribe.agents.claims import Claim, FeatureAt, NecessityClaim, claim_sha256
from tracescribe.agents.findings import Controls, ExperimentPlan, Measurement, Supernode
from tracescribe.agents.registration import Registration, verify_chain
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.tracer.errors import RegistrationError


def supernode(feature: int = 3, supernode_id: str = "s1") -> Supernode:
    member = FeatureAt(layer=0, position=1, feature=feature)
    return Supernode(supernode_id=supernode_id, label="Texas", role="intermediate", members=(member,))


def claim(min_effect: float = 0.5) -> NecessityClaim:
    return NecessityClaim(claim_id="c1", statement="x", supernode="s1", target_token="Austin", min_effect=min_effect)


def plan(of: Claim, threshold: float = 0.5) -> ExperimentPlan:
    return ExperimentPlan(
        plan_id="p-c1",
        claim_id=of.claim_id,
        claim_sha256=claim_sha256(of),
        metric="log_probability_drop",
        intervention={},
        mode="open",
        freeze_attention=False,
        controls=Controls(n=0, matched_on=(), seed=0, sha256="0"),
        threshold=threshold,
        alpha=0.05,
        seed=0,
    )


def measurement(effect: float = 1.0) -> Measurement:
    return Measurement(plan_id="p-c1", effect=effect, control_effects=(), interval=None)


def full_registry() -> ClaimRegistry:
    registry = ClaimRegistry()
    registry.define(supernode())
    registry.register(claim())
    registry.plan(plan(claim()))
    registry.measure(plan(claim()), measurement())
    return registry


def test_the_right_order_is_logged() -> None:
    events = [(entry.event, entry.subject) for entry in full_registry().entries]
    assert events == [("defined", "s1"), ("registered", "c1"), ("planned", "c1"), ("measured", "c1")]
    verify_chain(full_registry().entries)


def test_a_claim_needs_its_supernode() -> None:
    with pytest.raises(RegistrationError, match="names undefined supernodes"):
        ClaimRegistry().register(claim())


def test_a_supernode_keeps_its_members() -> None:
    registry = ClaimRegistry()
    registry.define(supernode())
    registry.define(supernode())  # the same again changes nothing
    assert len(registry.entries) == 1
    with pytest.raises(RegistrationError, match="was defined with other members"):
        registry.define(supernode(feature=4))


def test_a_plan_needs_its_registered_claim() -> None:
    registry = ClaimRegistry()
    with pytest.raises(RegistrationError, match="was not registered in this form"):
        registry.plan(plan(claim()))
    registry.define(supernode())
    registry.register(claim())
    with pytest.raises(RegistrationError, match="was not registered in this form"):
        registry.plan(plan(claim(min_effect=0.1)))  # the threshold was lowered after registration


def test_a_measurement_needs_its_plan() -> None:
    registry = ClaimRegistry()
    registry.define(supernode())
    registry.register(claim())
    with pytest.raises(RegistrationError, match="plan the test of c1 before it runs"):
        registry.measure(plan(claim()), measurement())
    registry.plan(plan(claim()))
    with pytest.raises(RegistrationError, match="was not registered in this form"):
        registry.measure(plan(claim(), threshold=0.1), measurement())


def test_nothing_is_written_twice() -> None:
    registry = full_registry()
    with pytest.raises(RegistrationError, match="append-only"):
        registry.register(claim())
    with pytest.raises(RegistrationError, match="append-only"):
        registry.plan(plan(claim()))
    with pytest.raises(RegistrationError, match="append-only"):
        registry.measure(plan(claim()), measurement(2.0))


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize(
    "change", [{"sha256": "f" * 64}, {"subject": "c9"}, {"event": "measured"}, {"sequence": 7}, {"previous": "1" * 64}]
)
def test_a_changed_entry_shows(number: int, change: dict[str, object]) -> None:
    entries = list(full_registry().entries)
    if change.get("event") == entries[number].event:
        change = {"event": "defined"}
    entries[number] = Registration.model_validate(entries[number].model_dump() | change)
    with pytest.raises(RegistrationError, match=f"registry entry {number} "):
        verify_chain(entries)


def test_a_rewritten_entry_breaks_the_next() -> None:
    """Someone who recomputes the chain hash of the entry they change must recompute all that follow."""
    entries, other = list(full_registry().entries), ClaimRegistry()
    other.define(supernode(feature=99))
    with pytest.raises(RegistrationError, match="registry entry 1 "):
        verify_chain([other.entries[0], *entries[1:]])


def test_dropped_and_moved_entries_show() -> None:
    entries = full_registry().entries
    for faulty in (entries[1:], entries[:1] + entries[2:], (entries[1], entries[0], *entries[2:])):
        with pytest.raises(RegistrationError, match="the log was changed"):
            verify_chain(faulty)


def test_a_report_is_sealed_once_and_nothing_comes_after_it() -> None:
    registry = full_registry()
    registry.report("r1", "ab" * 32)
    verify_chain(registry.entries)
    assert [entry.event for entry in registry.entries][-1] == "reported"
    with pytest.raises(RegistrationError, match="report r1 was reported before"):
        registry.report("r1", "ab" * 32)
    with pytest.raises(RegistrationError, match="claim c2 cannot be registered after the report was sealed"):
        registry.register(claim().model_copy(update={"claim_id": "c2"}))
