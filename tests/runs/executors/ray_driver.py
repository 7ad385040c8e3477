"""`ray_driver.py STORE JOB ADDRESS WORKERS FUNCTION [LOOK]`: works on a job with actors, in a process of its own.

FUNCTION: seconds of `Repeat`, a folder for `Mishap`, or `held:` and a folder for `HeldBack`.
LOOK: seconds between two looks of the driver, so that a test can have one that has not yet heard where its actors run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.runs.executors.case_functions import HeldBack, Mishap, Repeat
from tracescribe.runs.executors import ray_group
from tracescribe.runs.executors.contract import CaseFunction
from tracescribe.runs.executors.ray_cluster import run_on_ray
from tracescribe.runs.jobs.specification import RayExecutor
from tracescribe.runs.store.database import parse_address


def case_function(text: str) -> CaseFunction:
    """What carries out the cases."""
    if text.startswith("held:"):
        return HeldBack(text.removeprefix("held:"))
    return Mishap(Path(text)) if "/" in text else Repeat(float(text))


def main() -> int:
    """Exits with 0 when the job is done."""
    store, job_id, address, workers, function, *look = sys.argv[1:]
    if look:
        ray_group.LOOK_SECONDS = float(look[0])
    executor = RayExecutor(
        address=None if address == "none" else address, workers=None if workers == "none" else int(workers)
    )
    end = run_on_ray(parse_address(store), job_id, case_function(function), executor)
    print(end.status, flush=True)
    return 0 if end.status == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
