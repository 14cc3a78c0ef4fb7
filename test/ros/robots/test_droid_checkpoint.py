# SPDX-License-Identifier: Apache-2.0
"""The Panda with DROID's keys, whole: from pictures and joints, by a served N1.7, to commands.

The checkpoint is tiny and its weights are random; everything else is as on the robot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_limits import require_goals_inside, require_inside
from droid_checkpoint import TAG, make_droid_checkpoint
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, Operator, overrides
from panda_description import HOME, flange_pose, panda_urdf
from rclpy.context import Context
from rclpy.node import Node
from robot_library import FOLDER
from simulated_robot import SimulatedRobot, picture_number
from torch_python import python_with_torch, torch_environment

from gr00t_policy_core import PolicyClient
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.msg import PolicyStatus
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.node.offline_nodes import contract_of_file
from gr00t_ros.policy.policy_node import PolicyNode
from gr00t_ros.sim.demo_processes import DemoProcesses, port_from_log

FILE = FOLDER / "franka" / "robot.yaml"
ARM = tuple(f"fr3_joint{number}" for number in range(1, 8))
FINGER = "fr3_finger_joint1"
START_S = 180.0  # to import torch and load a model on a busy machine
INFERENCES = 6
COMMANDS = 200  # 2 s
BUSY = {  # for a machine so busy that messages and answers are late
    "max_age_s": 5.0,
    "max_skew_s": 0.3,
    "max_observation_age_s": 60.0,
    "policy.timeout_s": 60.0,
}
# From docs/how-to/end-effectors.md: DROID's axes of the hand in those of link 8.
DROID_AXES = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]])


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of `gr00t-policy serve` with the checkpoint."""
    python = python_with_torch()
    checkpoint = make_droid_checkpoint(tmp_path / "droid")
    paths = ["--model-path", checkpoint.folder, "--backbone-path", checkpoint.backbone]
    options = [*paths, "--embodiment-tag", TAG, "--device", "cpu", "--port", "0"]
    processes = DemoProcesses(tmp_path / "log", torch_environment())
    command = [python, "-m", "gr00t_policy_core", "serve", *map(str, options)]
    server = processes.start("policy_server", command)

    def is_listening() -> bool:
        processes.let_run(0.0)  # raises with the log where the server has ended
        return port_from_log(server.log) is not None

    try:
        wait_until(is_listening, START_S, "the server listens")
        yield port_from_log(server.log) or 0
    finally:
        processes.end()
        print(server.log.read_text(errors="replace"))  # noqa: T201 - where a test fails


@pytest.fixture
def observations(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Everything that the policy node has asked the server with."""
    asked: list[dict[str, Any]] = []
    get_action = PolicyClient.get_action

    def noted(client: PolicyClient, observation: dict[str, Any], *options: Any) -> Any:
        asked.append(observation)
        return get_action(client, observation, *options)

    monkeypatch.setattr(PolicyClient, "get_action", noted)
    return asked


def test_pictures_and_joints_become_commands_inside_every_limit(
    port: int,
    observations: list[dict[str, Any]],
    ros_context: Context,
    make_robot: Callable[..., SimulatedRobot],
    live: Callable[[ManagedNode], None],
    commanded: dict[str, list[np.ndarray]],
    ros_node: Node,
) -> None:
    contract = contract_of_file(FILE)
    start = {**dict(zip(ARM, HOME, strict=True)), FINGER: 0.03}
    robot = make_robot(contract, start, panda_urdf("fr3_"), image_size=(180, 320))
    arguments = {
        "context": ros_context,
        "cli_args": ["--ros-args", "--params-file", str(FILE)],
        "parameter_overrides": overrides({**BUSY, "policy.port": port, "autostart": True}),
    }
    policy, control = Operator(ros_node, "policy_node"), Operator(ros_node, "control_node")
    live(ControlNode(**arguments))
    live(PolicyNode(**arguments))
    for operator in (control, policy):
        assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    wait_until(
        lambda: (
            len(commanded.get("joint_position", [])) >= COMMANDS and len(observations) >= INFERENCES
        ),
        START_S,
        "commands",
    )

    status = policy.wait_until_running()
    assert (status.state, status.inference_errors) == (PolicyStatus.STATE_RUNNING, 0)
    require_observed(observations, robot.picture_stamps_s)
    require_commanded(contract, commanded, robot)


def require_observed(observations: list[dict[str, Any]], stamps_s: list[float]) -> None:
    """The policy was asked with DROID's keys, and each of them meant what it says."""
    for observation in list(observations):
        video, state = observation["video"], observation["state"]
        assert video.keys() == {"exterior_image_1_left", "wrist_image_left"}
        for pictures in video.values():
            assert pictures.shape == (1, 2, 180, 320, 3)
            past_s, present_s = (stamps_s[picture_number(one)] for one in pictures[0])
            assert present_s - past_s == pytest.approx(1.0, abs=BUSY["max_skew_s"])  # 15 steps
        assert state.keys() == {"eef_9d", "gripper_position", "joint_position"}
        joints = np.asarray(state["joint_position"][0, -1], np.float64)
        flange = flange_pose(joints)
        rows = (flange[:3, :3] @ DROID_AXES)[:2].ravel()
        np.testing.assert_allclose(
            state["eef_9d"][0, -1], [*flange[:3, 3], *rows], atol=2e-6, err_msg=str(joints)
        )
        assert state["gripper_position"][0, -1] == pytest.approx([0.25])  # a quarter closed
    assert np.ptp([o["state"]["joint_position"] for o in observations], axis=0).max() > 0.01


def require_commanded(
    contract: Any, commanded: dict[str, list[np.ndarray]], robot: SimulatedRobot
) -> None:
    """Joints and gripper were commanded inside every limit, and nothing else."""
    assert commanded.keys() == {"joint_position"}
    outputs = {output.key: output for output in contract.action}
    joints = np.array(commanded["joint_position"])
    assert np.ptp(joints, axis=0).max() > 0.01
    require_inside(outputs["joint_position"], joints, 1.0 / contract.control_rate_hz)
    gripper = outputs["gripper_position"]
    require_goals_inside(gripper, robot.goals(gripper.topic))


def test_the_description_of_the_tests_is_franka_s_own() -> None:
    """Its kinematics are those of Pinocchio for the same URDF, and of the packaged one."""
    from robot_library import joint_facts, urdf_file

    chains = pytest.importorskip("gr00t_policy_core.kinematics.chain")
    pytest.importorskip("pinocchio", reason="computes the kinematics")
    packaged = urdf_file("panda.urdf of example-robot-data")
    texts = [(panda_urdf("fr3_"), "fr3_")]
    if packaged is not None:
        texts.append((packaged.read_text(encoding="utf-8"), "panda_"))
    random = np.random.default_rng(1)
    facts = [joint_facts("panda")[f"panda_joint{number}"] for number in range(1, 8)]
    for text, prefix in texts:
        chain = chains.Chain(text, f"{prefix}link0", f"{prefix}link8")
        for _ in range(20):
            joints = np.array([random.uniform(fact.lower, fact.upper) for fact in facts])
            expected = flange_pose(joints)
            np.testing.assert_allclose(
                chain.placement(joints).homogeneous, expected, atol=1e-9, err_msg=prefix
            )
