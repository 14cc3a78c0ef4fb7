# SPDX-License-Identifier: Apache-2.0
"""An episode goes from the topics through the recorder and the conversion to a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nodes_for_tests import Operator, Robot, overrides
from policies_for_tests import parameters
from rclpy.context import Context
from rclpy.node import Node
from recorder_rig import RecorderRig

from gr00t_policy_core import ReplayPolicy, cli
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_ros.node.lifecycle import ManagedNode, bring_up
from gr00t_ros.record.recorder_node import RecorderNode

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")


def test_what_the_recorder_wrote_is_converted_and_replayed(
    tmp_path: Path,
    ros_context: Context,
    ros_node: Node,
    live: Callable[[ManagedNode], None],
) -> None:
    changes = {
        "max_age_s": 5.0,
        "record__folder": str(tmp_path / "recordings"),
        "record__min_free_mb": 0,
        "record__action_from": "state",
        "record__action_lead_steps": 2,
    }
    node = RecorderNode(context=ros_context, parameter_overrides=overrides(parameters(**changes)))
    assert bring_up(node)
    live(node)
    robot = Robot(ros_node)
    rig = RecorderRig(
        node=node,
        peer=ros_node,
        operator=Operator(ros_node, "recorder_node"),
        robot=robot,
        folder=tmp_path / "recordings",
    )
    rig.begin("wave")
    rig.wait_for_messages(60)
    assert rig.stop("success").success

    arguments = [str(tmp_path / "recordings"), "--output", str(tmp_path / "d")]
    flags = ["--image-size", "16x16", "--min-length", "0.1", "--jobs", "1"]
    assert cli.main(["convert", *arguments, *flags]) == 0

    dataset = LeRobotDataset(tmp_path / "d")
    state = dataset.read(0, "state", ["arm", "gripper"])
    assert len(state["arm"]) > 3
    arm, gripper = [robot.joints["shoulder"], robot.joints["elbow"]], [robot.joints["finger"]]
    np.testing.assert_allclose(state["arm"], [arm] * len(state["arm"]), atol=1e-6)
    line = (tmp_path / "d/meta/episodes.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["tasks"] == ["wave"]
    assert json.loads(line)["outcome"] == "success"
    action, _ = ReplayPolicy(tmp_path / "d", strict=False).get_action({})
    np.testing.assert_allclose(action["gripper"][0, 0], gripper, atol=1e-6)
