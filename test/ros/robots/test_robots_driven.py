# SPDX-License-Identifier: Apache-2.0
"""Each robot of `robots/`, simulated, with both nodes and a policy that asks for too much."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from action_limits import require_goals_inside, require_inside
from helpers import wait_until
from nodes_for_tests import ACTIVATE, CONFIGURE, Operator, overrides
from panda_description import panda_urdf
from rclpy.context import Context
from rclpy.node import Node
from robot_library import ROBOTS, RobotFile, published
from simulated_robot import RandomMotions, SimulatedRobot, proposed_configs

from gr00t_ros.contract.contract import Contract
from gr00t_ros.control.control_node import ControlNode
from gr00t_ros.node.lifecycle import ManagedNode
from gr00t_ros.node.offline_nodes import contract_of_file
from gr00t_ros.policy.policy_node import PolicyNode

MakeRobot = Callable[..., SimulatedRobot]

COMMANDS = 150  # of each key, while running
DESCRIPTIONS = {"panda": panda_urdf("fr3_")}
CHANGES = {
    "autostart": True,
    "replan_interval_s": 0.4,
    # for a machine so busy that messages are late
    "max_age_s": 5.0,
    "max_observation_age_s": 60.0,
}


def starting_positions(robot: RobotFile, contract: Contract) -> dict[str, float]:
    """Somewhere within the limits of each joint; the URDF's where nothing commands it."""
    random, facts = np.random.default_rng(3), robot.facts
    positions = {}
    for stream in contract.state_streams:
        for joint in stream.interface.measured_joints:
            urdf = facts[robot.urdf_name(joint)]
            lower, upper = max(urdf.lower, -3.0), min(urdf.upper, 3.0)
            positions[joint] = random.uniform(lower, upper)
    for output in contract.action:
        for joint, limits in zip(output.joints, output.limits, strict=True):
            positions[joint] = random.uniform(limits.lower, limits.upper)
    return positions


@pytest.mark.parametrize("robot", ROBOTS, ids=lambda robot: robot.path)
def test_every_command_is_inside_every_limit(
    robot: RobotFile,
    ros_context: Context,
    ros_node: Node,
    make_robot: MakeRobot,
    live: Callable[[ManagedNode], None],
    commanded: dict[str, list[np.ndarray]],
) -> None:
    contract = contract_of_file(robot.file)
    needs = published(robot.published) if robot.published else proposed_configs(contract)
    policy = RandomMotions(contract, *needs)
    arm = make_robot(contract, starting_positions(robot, contract), DESCRIPTIONS.get(robot.joints))
    arguments = {
        "context": ros_context,
        "cli_args": ["--ros-args", "--params-file", str(robot.file)],
        "parameter_overrides": overrides(CHANGES),
    }
    operators = Operator(ros_node, "policy_node"), Operator(ros_node, "control_node")
    live(ControlNode(**arguments))
    live(PolicyNode(policy_factory=lambda _: policy, **arguments))
    for operator in reversed(operators):
        assert operator.change_state(CONFIGURE, ACTIVATE) == [True, True]
    for operator in operators:
        operator.wait_until_running()

    on_topics = [output for output in contract.action if not output.interface.is_action]
    keys = [output.key for output in on_topics]
    wait_until(
        lambda: min(len(commanded.get(key, [])) for key in keys) >= COMMANDS,
        what=f"{COMMANDS} commands of each of {keys}",
    )
    assert policy.answers >= 3
    assert arm.received.keys() == {output.topic for output in on_topics}
    for output in on_topics:
        commands = np.array(commanded[output.key])
        assert np.ptp(commands, axis=0).max() > 0.0, f"{output.name} did not move"
        require_inside(output, commands, 1.0 / contract.control_rate_hz)
    for output in contract.action:
        if output.interface.is_action:
            require_goals_inside(output, arm.goals(output.topic))
