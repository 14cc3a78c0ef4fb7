# SPDX-License-Identifier: Apache-2.0
"""A recorder node in the test's own process, and what talks to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodes_for_tests import Operator, Robot, overrides
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from recorder_rig import RecorderRig, StartRecorder

from gr00t_ros.node.lifecycle import ManagedNode, bring_up
from gr00t_ros.record.recorder_node import RecorderNode


@pytest.fixture
def start_recorder(
    ros_context: Context, ros_node: Node, live: Callable[[ManagedNode], None], tmp_path: Path
) -> StartRecorder:
    """Starts a recorder that records into `tmp_path`; changes to the parameters."""

    def start(*, robot: bool = True, active: bool = True, **changes: Any) -> RecorderRig:
        given = parameters(
            **{
                "max_age_s": 5.0,
                "record__folder": str(tmp_path / "recordings"),
                "record__min_free_mb": 0,
                **changes,
            }
        )
        node = RecorderNode(context=ros_context, parameter_overrides=overrides(given))
        if active:
            assert bring_up(node)
        live(node)
        return RecorderRig(
            node=node,
            peer=ros_node,
            operator=Operator(ros_node, "recorder_node"),
            robot=Robot(ros_node) if robot else None,
            folder=tmp_path / "recordings",
        )

    return start
