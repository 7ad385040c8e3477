"""What can never be the place of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracescribe.runs.job_results.folders import whole_folder
from tracescribe.tracer.errors import OutputError


def test_the_root_of_all_folders_is_never_replaced() -> None:
    with pytest.raises(OutputError, match="no folder that can be replaced"), whole_folder(Path("/"), force=True):
        raise AssertionError("nothing may be written")
