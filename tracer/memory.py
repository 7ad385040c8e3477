"""Memory of a trace, planned before the work: how much it needs, how many targets go into one block, and what would fit.

The limit is on the whole process: model, transcoders and what the clean run left are counted as they are found. Edges
dominate long prompts. Their number is known exactly once the active features are: a target is reached by the features,
errors and tokens of lower layers at its own and earlier positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracescribe.tracer.errors import SettingError
from tracescribe.tracer.machine_memory import available_memory, resident_memory

if TYPE_CHECKING:
    from tracescribe.tracer.models import LanguageModel

DEFAULT_SHARE = 0.8
"""Of the memory that is free when a trace starts, taken where no limit is given: the rest is for pruning, files and other
programs."""

EDGE_BYTES = 8
"""One edge in row-compressed form: an int32 source and a float32 weight."""

_UNITS = {
    "b": 1,
    **{f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)},
}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,6})?)\s*([a-zA-Z]*)\s*")

Counts = NDArray[np.int64]


def parse_size(text: str) -> int:
    """Bytes from '8GB' (powers of 1000) or '512MiB' (powers of 1024).

    Raises:
        SettingError: no number, no unit, or nothing at all.
    """
    match = _SIZE.fullmatch(text)
    unit = None if match is None else _UNITS.get(match[2].lower())
    if match is None or unit is None or float(match[1]) * unit < 1:
        units = "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
        raise SettingError(f"{text[:40]!r} is no amount of memory; write a number and one of {units}, for example 8GB")
    return int(float(match[1]) * unit)


def format_size(n_bytes: float) -> str:
    """Bytes as people write them, in powers of 1000: '1.9 GB'."""
    for unit in ("B", "kB", "MB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} GB" if n_bytes < 999.5 else f"{n_bytes / 1000:.4g} TB"


def memory_limit(text: str | None) -> int:
    """Bytes that the process may hold: as given, or what it holds now and `DEFAULT_SHARE` of what is free.

    Raises:
        SettingError: the text is no amount of memory.
    """
    return resident_memory() + int(DEFAULT_SHARE * available_memory()) if text is None else parse_size(text)


@dataclass(frozen=True, eq=False)
class TraceSize:
    """What decides the memory of a trace.

    Attributes:
        layer, position: of each active feature, `[n_active]`.
        n_layers: of the model.
        n_pos: prompt tokens.
        n_logits: output targets.
        bytes_per_target: of one target in a block of the sweep.
        held: bytes that are needed whatever is chosen, by part.
        edge_bytes: of one edge, at the moment when edges take most.
    """

    layer: Counts
    position: Counts
    n_layers: int
    n_pos: int
    n_logits: int
    bytes_per_target: int
    held: Mapping[str, int]
    edge_bytes: int = EDGE_BYTES

    def sources(self) -> Counts:
        """Sources that can reach each target, `[n_active + n_logits]`: features, errors, tokens of lower layers at the
        same and earlier positions."""
        here = np.zeros((self.n_layers + 1, self.n_pos), dtype=np.int64)
        np.add.at(here, (self.layer + 1, self.position), 1)
        below = here.cumsum(0).cumsum(1)  # features of layers < l at positions <= p
        layer = np.concatenate([self.layer, np.full(self.n_logits, self.n_layers)])
        position = np.concatenate([self.position, np.full(self.n_logits, self.n_pos - 1)])
        return np.asarray(below[layer, position] + (layer + 1) * (position + 1), dtype=np.int64)

    def n_edges(self, max_feature_nodes: int | None = None) -> int:
        """Edges of the whole trace; with a node budget the most that any choice of so many features can have."""
        sources = self.sources()
        features, logits = sources[: len(self.layer)], sources[len(self.layer) :]
        if max_feature_nodes is not None and max_feature_nodes < len(features):
            features = np.sort(features)[::-1][:max_feature_nodes]
        return int(features.sum() + logits.sum())

    def fitting_budget(self, n_bytes: int) -> int:
        """The largest node budget whose edges fit into so many bytes whatever features it picks; -1 if none does."""
        sources = self.sources()
        features, logits = sources[: len(self.layer)], sources[len(self.layer) :]
        edges = logits.sum() + np.concatenate([[0], np.sort(features)[::-1].cumsum()])
        return int(np.searchsorted(edges * self.edge_bytes, n_bytes, side="right")) - 1


@dataclass(frozen=True)
class MemoryPlan:
    """How a trace uses its memory.

    Attributes:
        batch_size: targets per block of the sweep. Only the block: with a node budget the number of features between
            two estimates of influence is part of the result, and memory must not change it.
        limit: bytes that the process may hold.
        needed: bytes by part, with this batch size.
        fitting_budget: the largest node budget that would fit; None where nothing has to be left out; 0 where not even
            one feature fits.
    """

    batch_size: int
    limit: int
    needed: Mapping[str, int]
    fitting_budget: int | None = None

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.needed.values())

    @property
    def fits(self) -> bool:
        """Whether the trace stays below the limit."""
        return self.total <= self.limit

    @property
    def advice(self) -> str:
        """What to do where it does not fit; empty where it does."""
        if self.fits:
            return ""
        raise_it = f"raise --max-memory to {format_size(self.total * 1.05)} or more"
        if not self.fitting_budget:
            return f"{raise_it}, or shorten the prompt"
        return (
            f"trace fewer features (--max-feature-nodes {self.fitting_budget} fits), shorten the prompt, or {raise_it}"
        )

    def require(self) -> MemoryPlan:
        """The plan itself, if it fits.

        Raises:
            SettingError: it does not; the message names the parts and what would fit.
        """
        if not self.fits:
            parts = ", ".join(f"{name} {format_size(size)}" for name, size in self.needed.items())
            raise SettingError(
                f"the trace needs {format_size(self.total)} of memory ({parts}), but may take "
                f"{format_size(self.limit)}; {self.advice}"
            )
        return self


def check_clean_run(model: LanguageModel, n_pos: int, limit: int) -> None:
    """Refuse a prompt whose forward pass alone does not fit.

    Attention patterns dominate it: they are kept of every layer, once as the model gives them and once as the trace
    uses them.

    Raises:
        SettingError: it does not fit; the message says what it needs.
    """
    n_numbers = 2 * model.n_layers * model.architecture.n_heads * n_pos**2
    needed = n_numbers * model.compute_dtype.itemsize
    held = resident_memory()
    if held + needed > limit:
        raise SettingError(
            f"the attention patterns of {n_pos} tokens need {format_size(needed)} beside {format_size(held)} in use, but "
            f"the process may take {format_size(limit)}; shorten the prompt, or raise --max-memory"
        )


def plan_memory(size: TraceSize, limit: int, batch_size: int, max_feature_nodes: int | None = None) -> MemoryPlan:
    """The largest batch that keeps a trace below a limit, and what would fit where none does.

    Args:
        size: what decides the memory.
        limit: bytes that the process may hold.
        batch_size: most targets per block.
        max_feature_nodes: node budget, or None.
    """
    edges = size.n_edges(max_feature_nodes) * size.edge_bytes
    free = limit - sum(size.held.values())
    fitting = max(1, min(batch_size, (free - edges) // size.bytes_per_target))
    needed = {**size.held, "edges": edges, "sweep": fitting * size.bytes_per_target}
    plan = MemoryPlan(fitting, limit, needed)
    if plan.fits:
        return plan
    budget = max(0, size.fitting_budget(free - size.bytes_per_target))
    return MemoryPlan(fitting, limit, needed, budget)
