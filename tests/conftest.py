"""Fixtures that all rooms share: the embedded model, loaded once, and the folder of shared test data."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.runs.postgres_server import postgres  # noqa: F401  # a fixture of all rooms: a real server

if TYPE_CHECKING:
    from tracescribe.tracer.graph import AttributionGraph
    from tracescribe.tracer.models import LanguageModel
    from tracescribe.tracer.transcoders import TranscoderSet

SHARED_VARIABLE = "TRACESCRIBE_SHARED"

settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")
"""The same examples each time, however long one takes; `pytest --hypothesis-profile default` draws new ones."""


def pytest_configure(config: pytest.Config) -> None:
    """Workers get the files in the order of their names: by number of tests, the longest would be left to the end."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What the test modules import stays to the end: millions of objects that no collection of garbage need walk through."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def nobodys_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Jobs sign the audit log: keys and anchors of tests do not lie among those of whoever runs them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """The models of the tests are small: threads only wait for each other, and several workers fight for the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def embedded_model() -> LanguageModel:
    """The embedded model."""
    from tracescribe.tracer.models import load_model

    return load_model("embedded")


@pytest.fixture(scope="session")
def embedded_transcoders() -> TranscoderSet:
    """The embedded cross-layer transcoder."""
    from tracescribe.tracer.transcoders import load_transcoders

    return load_transcoders("embedded")


@pytest.fixture(scope="session")
def dallas_graph(embedded_model: LanguageModel, embedded_transcoders: TranscoderSet) -> AttributionGraph:
    """The unpruned graph of the best-known two-hop prompt."""
    from tracescribe.tracer.attribution import attribute

    return attribute(embedded_model, embedded_transcoders, "the capital of the state containing Dallas is")


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Folder with golden traces and published graphs, which are not part of the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get(SHARED_VARIABLE, default))
    if not (folder / "tracer" / "goldens").is_dir():
        pytest.skip(f"no shared test data at {folder}; set {SHARED_VARIABLE} to the folder that holds tracer/goldens")
    return folder
