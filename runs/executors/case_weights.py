"""Weights that a worker loads once and keeps, and whether they are the job's."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracescribe.tracer.errors import HaltError

if TYPE_CHECKING:
    from tracescribe.agents.toolbox import Toolbox
    from tracescribe.runs.executors.contract import CaseLease
    from tracescribe.runs.jobs.specification import Weights
    from tracescribe.runs.store.database import Store

_SHOWN = 12


class WrongWeightsError(HaltError):
    """This worker's weights are not those of the job."""


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """A toolbox, and what it was loaded for.

    Attributes:
        device: where the model runs; empty where none was loaded.
    """

    weights: Weights
    toolbox: Toolbox
    device: str = ""


def load_weights(weights: Weights) -> LoadedWeights:
    """Load model, transcoders and evidence.

    Raises:
        InputError: one of them cannot be loaded, or they do not fit each other.
        EvidenceError: the evidence belongs to others.
    """
    from tracescribe.agents.toolbox import Toolbox, load_toolbox
    from tracescribe.runs.loading import named_or_path
    from tracescribe.tracer import embedded

    if not weights.load:
        return LoadedWeights(weights, Toolbox())
    _one_thread()
    evidence = weights.evidence
    if evidence is None and weights.model == embedded.MODEL_ID:
        evidence = embedded.MODEL_ID
    device = weights.device or _own_device()
    toolbox = load_toolbox(
        named_or_path(weights.model), named_or_path(weights.transcoders), evidence, dtype=weights.dtype, device=device
    )
    # what was loaded stays: looking through it after every case would take longer than much of the case
    gc.collect()
    gc.freeze()
    return LoadedWeights(weights, toolbox, device)


def check_weights(store: Store, lease: CaseLease, loaded: LoadedWeights) -> None:
    """Make sure that every worker of a job has the same weights: those that the job names, else those of its first worker.

    Raises:
        WrongWeightsError: this worker has others; it is on record in the audit log.
        StoreError: the store cannot be used.
    """
    model, transcoders = loaded.toolbox.model, loaded.toolbox.transcoders
    if model is None or transcoders is None:
        return
    found = {"model": model.weights_sha256, "transcoders": transcoders.sha256}
    named = lease.job.weights
    expected = _agreed(
        store, lease.job_id, named.model_sha256 or found["model"], named.transcoders_sha256 or found["transcoders"]
    )
    for what, sha256 in found.items():
        if sha256 != expected[what]:
            _told(store, lease, what, sha256, expected[what])
            place = named.model if what == "model" else named.transcoders
            raise WrongWeightsError(
                f"wrong {what} weights on {os.uname().nodename}: {place!r:.200} is {sha256[:_SHOWN]}, the job's are "
                f"{expected[what][:_SHOWN]}; put the right files there and go on with: tracescribe jobs resume {lease.job_id}"
            )


def _agreed(store: Store, job_id: str, model: str, transcoders: str) -> dict[str, str]:
    """The hashes that the job goes by; these, if it had none."""
    import sqlalchemy as sa

    from tracescribe.runs.store.tables import jobs

    query = sa.select(jobs.c.model_sha256, jobs.c.transcoders_sha256).where(jobs.c.job_id == job_id)
    row: Any = store.read(lambda connection: connection.execute(query).first())
    if row is None or row.model_sha256 is None or row.transcoders_sha256 is None:
        first = {"model_sha256": model, "transcoders_sha256": transcoders}

        def agree(connection: sa.Connection) -> Any:
            for name, sha256 in first.items():
                column = jobs.c[name]
                connection.execute(
                    sa.update(jobs).where(jobs.c.job_id == job_id, column.is_(None)).values({name: sha256})
                )
            return connection.execute(query).first()

        row = store.write(agree)
    return {
        "model": model if row is None or row.model_sha256 is None else row.model_sha256,
        "transcoders": transcoders if row is None or row.transcoders_sha256 is None else row.transcoders_sha256,
    }


def _told(store: Store, lease: CaseLease, what: str, found: str, expected: str) -> None:
    from tracescribe.runs.audit import append

    details = {"weights": what, "found": found, "expected": expected}
    actor = f"worker:{lease.worker_id}"
    store.write(
        lambda connection: append(
            connection, act="weights mismatch", subject=lease.job_id, details=details, actor=actor
        )
    )


def _own_device() -> str:
    """The GPU that this worker was given, else the processor."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _one_thread() -> None:
    """One thread a worker, unless the environment says how many: workers share the cores, and sums do not depend on it."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1") or "1"))
