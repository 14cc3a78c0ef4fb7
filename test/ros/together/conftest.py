# SPDX-License-Identifier: Apache-2.0
"""A robot, and processes that end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes_rig import Scene
from rclpy.node import Node


@pytest.fixture
def scene(ros_node: Node, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(ros_node, tmp_path)
    yield scene
    print(scene.end())  # noqa: T201 - pytest shows it where a test fails
