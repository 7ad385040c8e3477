"""`ray_driver.py STORE JOB ADDRESS WORKERS FUNCTION [LOOK]`: works on a job with actors, in a process of its own.

LOOK: seconds between two looks of the driver, so that a test can have one that has not yet heard where its actors run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.runs.executors.case_functions import Mishap, Repeat
from tracescribe.runs.executors import ray_group
from tracescribe.runs.executors.contract import CaseFunction
from tracescribe.runs.executors.ray_cluster import run_on_ray
from tracescribe.runs.jobs.specification import RayExecutor
from tracescribe.runs.store.database import parse_address


def main() -> int:
    """Exits with 0 when the job is done."""
    store, job_id, address, workers, function, *look = sys.argv[1:]
    if look:
        ray_group.LOOK_SECONDS = float(look[0])
    cases: CaseFunction = Mishap(Path(function)) if "/" in function else Repeat(float(function))
    executor = RayExecutor(
        address=None if address == "none" else address, workers=None if workers == "none" else int(workers)
    )
    end = run_on_ray(parse_address(store), job_id, cases, executor)
    print(end.status, flush=True)
    return 0 if end.status == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
