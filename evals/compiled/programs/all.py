"""Every program by name, and how one is built from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from tracescribe.evals.compiled.programs import (
    addition,
    induction,
    lookup,
    majority,
    marker,
    parity,
    routing,
    two_hop,
)
from tracescribe.evals.compiled.programs.common import Program
from tracescribe.tracer.errors import UnknownIdError, WorkError

BUILDERS: Mapping[str, Callable[[random.Random], Program]] = {
    "lookup": lookup.build,
    "two-hop": two_hop.build,
    "marker": marker.build,
    "induction": induction.build,
    "majority": majority.build,
    "addition": addition.build,
    "parity": parity.build,
    "routing": routing.build,
}


def build_program(name: str, seed: int) -> Program:
    """A program with the tables that a seed draws.

    Raises:
        UnknownIdError: no program has this name.
        WorkError: its network contradicts itself.
    """
    if name not in BUILDERS:
        raise UnknownIdError(f"no program {name!r}; programs are {', '.join(BUILDERS)}")
    program = BUILDERS[name](random.Random(f"{seed} {name} tables"))
    faults = program.network.faults()
    if faults:
        raise WorkError(f"program {name}: {'; '.join(faults[:5])}; this is a fault of the program")
    return program
