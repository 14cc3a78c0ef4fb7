# SPDX-License-Identifier: Apache-2.0
"""Bags to convert, and the robot's file."""

from __future__ import annotations

from pathlib import Path

import pytest
from demonstration_bags import (
    recording,
    write_plain_bag,
)

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
from conversion_rig import write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "robot.yaml")


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """A folder with two plain bags of 2 s."""
    for name in ("a", "b"):
        write_plain_bag(tmp_path / f"bags/{name}.mcap", recording(2.0))
    return tmp_path / "bags"
