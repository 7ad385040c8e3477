"""What a run on one case has spent, fixed and given out: all that must outlive the process that the run began in."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tracescribe.agents.budget import Budget, Meter
from tracescribe.agents.registry import ClaimRegistry
from tracescribe.agents.registry_log import Spent
from tracescribe.agents.tools_snapshot import ToolsSnapshot

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tracescribe.agents.claims import Claim
    from tracescribe.agents.findings import ExperimentPlan, Measurement


class RunAccount:
    """Meter, registry, ids given out, and a proposer's memory.

    Attributes:
        meter: what is spent.
        registry: what was fixed, in order.
        memory: a proposer's own, as plain JSON values: all that it may keep from step to step.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.meter = Meter(budget, clock)
        self.registry = ClaimRegistry()
        self.memory: dict[str, JsonValue] = {}
        self._claims = 0
        self._supernodes = 0
        self._charged: set[str] = set()
        self._noted: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._metered = True

    def new_claim_id(self) -> str:
        """The next free claim id: c1, c2, ..."""
        self._claims += 1
        return f"c{self._claims}"

    def new_supernode_id(self) -> str:
        """The next free supernode id: s1, s2, ..."""
        self._supernodes += 1
        return f"s{self._supernodes}"

    def keep_in(self, registry: ClaimRegistry) -> None:
        """Use this registry, and tell its log what was spent."""
        self.registry = registry
        registry.spent = self._spent_since

    def snapshot(self) -> ToolsSnapshot:
        """Everything that a run needs to go on in another process; what it says of the registry is on the disk then."""
        self.registry.settle()
        return ToolsSnapshot(
            meter=self.meter.snapshot(),
            claims=self._claims,
            supernodes=self._supernodes,
            charged=tuple(sorted(self._charged)),
            memory=copy.deepcopy(self.memory),
            registry=self.registry.mark,
        )

    def restore(self, snapshot: ToolsSnapshot, seconds: float = 0.0) -> None:
        """Go on from a snapshot.

        Args:
            seconds: that the run had lasted when it died, if more than the snapshot tells.

        Raises:
            RegistryLogError: the registry does not fit the snapshot.
        """
        self.registry.go_on_from(snapshot.registry)
        lasted = max(seconds, snapshot.meter.seconds) + self.meter.seconds
        self.meter.restore(snapshot.meter.model_copy(update={"seconds": lasted}))
        self._claims, self._supernodes = snapshot.claims, snapshot.supernodes
        self._charged = set(snapshot.charged)
        self._noted = (frozenset(snapshot.meter.billed), frozenset(snapshot.charged))
        self.memory = copy.deepcopy(snapshot.memory)

    def recall(self, claim: Claim) -> tuple[ExperimentPlan, Measurement] | None:
        """Plan and measurement of a claim's experiment if a process that died has run it; it is paid for as it was then.

        Raises:
            RegistryLogError: the log tells of another claim with this id.
        """
        found = self.registry.recall(claim)
        if found is None:
            return None
        plan, measurement, spent = found
        if spent is not None:
            now = self.meter.snapshot()
            billed = tuple(sorted({*now.billed, *spent.meter.billed}))
            self.meter.restore(spent.meter.model_copy(update={"billed": billed, "seconds": now.seconds}))
            self._charged.update(spent.charged)
            self._noted = (frozenset(billed), frozenset(self._charged))
        return plan, measurement

    @contextmanager
    def unmetered(self) -> Iterator[None]:
        """Acts inside cost nothing: what a process that died had paid for is computed again."""
        self._metered = False
        try:
            yield
        finally:
            self._metered = True

    def charge_passes(self, number: int) -> None:
        """Charge forward passes that are about to be made.

        Raises:
            BudgetExceededError: they are used up.
        """
        if self._metered:
            self.meter.charge(forward_passes=number)

    def charge_once(self, key: str) -> None:
        """Charge one forward pass for what is computed once and then remembered.

        Raises:
            BudgetExceededError: the forward passes are used up.
        """
        if key not in self._charged:
            self.charge_passes(1)
            self._charged.add(key)

    def _spent_since(self) -> Spent:
        meter, (billed, charged) = self.meter.snapshot(), self._noted
        self._noted = (frozenset(meter.billed), frozenset(self._charged))
        new = tuple(key for key in meter.billed if key not in billed)
        return Spent(meter=meter.model_copy(update={"billed": new}), charged=tuple(sorted(self._charged - charged)))
