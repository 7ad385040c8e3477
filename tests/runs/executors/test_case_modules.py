"""What the template of workers loads for cases: nearly all that a case needs, and nothing that a fork does not survive."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.runs.executors.test_local_run import ROOT
from tracescribe.runs.executors.case_modules import modules_of_cases

LOADED = """
import importlib, json, os, sys

for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
"""
FORKED = """
import torch

def connections():
    for entry in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink("/proc/self/fd/" + entry).startswith("socket:")
        except OSError:  # what the list itself was read by
            continue

state = {"threads": len(os.listdir("/proc/self/task")), "sockets": sum(connections()), "cuda": torch.cuda.is_initialized()}
print(json.dumps(state))
"""
WORKED = """
from tests.runs.executors.case_jobs import put_cases
from tracescribe.runs.executors.case_queue import lease_next
from tracescribe.runs.executors.interpret_cases import InterpretCases
from tracescribe.runs.executors.leases import finish
from tracescribe.runs.executors.liveness import new_worker_id, register
from tracescribe.runs.jobs.specification import JobSpecification
from tracescribe.runs.store.database import open_store, parse_address

store = open_store(parse_address(sys.argv[2]), create=True)
before = set(sys.modules)
job = JobSpecification.model_validate({"prompts": {"inline": ["x"]}, "budget": {"case": {"experiments": 2}}})
put_cases(store, "j", job, ["Jackson lies in"])
name = new_worker_id()
register(store, name, job_id="j")
lease = lease_next(store, "j", name)
outcome = InterpretCases()(lease, store, lambda: True)
finish(store, lease, outcome)
assert outcome.failure is None, outcome.failure
late = sorted(set(sys.modules) - before)
print(json.dumps([name for name in late if not name.startswith("tracescribe.")]))
"""
FEW = 60
"""Modules of libraries; without the template's there are 3,000."""


def run_code(code: str, agents: Sequence[str], *words: str) -> Any:
    """What a program prints as JSON that has loaded the modules of these agents."""
    names = ["tracescribe.runs.executors.template"]
    for agent in agents:
        names += modules_of_cases(agent)
    done = subprocess.run(
        [sys.executable, "-c", LOADED + code, json.dumps(names), *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.batch
def test_what_is_loaded_may_be_forked() -> None:
    """No thread, no connection, no accelerator: all of it would be shared by every worker."""
    state = run_code(FORKED, ["openai:m", "openai-responses:m", "anthropic:m", "local:m"])
    assert state == {"threads": 1, "sockets": 0, "cuda": False}


@pytest.mark.batch
def test_a_case_finds_nearly_all_that_it_imports(tmp_path: Path) -> None:
    late = run_code(WORKED, ["offline"], str(tmp_path / "store"))
    assert len(late) < FEW, late


def test_only_the_chosen_provider_is_loaded() -> None:
    assert "openai.resources" in modules_of_cases("openai-compatible:http://localhost:1/v1#m")
    assert "anthropic.resources" in modules_of_cases("one-shot@anthropic:m")
    every, offline = modules_of_cases(), modules_of_cases("offline")
    assert every == offline
    assert not any(name.startswith(("openai", "anthropic")) for name in every)
