# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the real models' layout. `golden` skips a module where torch is missing."""

import os
import shutil
from pathlib import Path

import pytest

NAMES = (
    "gr00t_n1d7/a",
    "gr00t_n1d7/b",
    "gr00t_n1d7/c",
    "gr00t_n1d7/d",
    "gr00t_n1d7/e",
    "gr00t_n1d6/a",
    "gr00t_n1d6/b",
    "gr00t_n1d6/c",
)

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test goes to the network


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest):
    """Each checkpoint in turn."""
    from models.golden import golden_of

    return golden_of(request.param)


@pytest.fixture
def policy(golden):
    """The policy of `golden`, loaded once."""
    from models.golden import policy_of

    return policy_of(golden.name)


@pytest.fixture
def n1d7():
    from models.golden import golden_of

    return golden_of("gr00t_n1d7/c")


@pytest.fixture
def damaged(tmp_path: Path):
    """Copies a checkpoint that a test may damage."""

    def copy(golden) -> Path:
        folder = tmp_path / "checkpoint"
        shutil.copytree(golden.checkpoint, folder)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
        return folder

    return copy


@pytest.fixture
def no_weights(monkeypatch):
    """Reading weights fails the test."""
    from gr00t_policy_core.models.common import loading

    monkeypatch.setattr(loading, "load_weights", lambda *_: pytest.fail("weights were read"))
