# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy new-robot` against a running robot and a policy server, and `check` of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from policies_for_tests import EchoPolicy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from gr00t_policy_core import PolicyServer
from gr00t_policy_core.cli import main

ARM, GRIPPER = ["shoulder", "elbow"], ["finger"]
URDF = '<robot name="arm">{}</robot>'.format(
    "".join(
        f'<joint name="{name}" type="{kind}"><limit lower="-1" upper="1"/></joint>'
        for names, kind in ((ARM, "revolute"), (GRIPPER, "prismatic"))
        for name in names
    )
)


@pytest.fixture
def port() -> Iterator[int]:
    with PolicyServer(EchoPolicy(), host="127.0.0.1", port=0) as server:
        yield server.port


@pytest.fixture
def robot(ros_context: Context, spin: Callable[[Node], Node]) -> Node:
    """A robot with two controllers that say their joints, cameras, and a description."""
    driver = Node("driver", context=ros_context)
    states = driver.create_publisher(JointState, "joint_states", 10)
    driver.create_timer(0.02, lambda: states.publish(JointState(name=[*GRIPPER, *ARM])))
    for topic in ("front/image_raw", "front/depth/image_rect"):
        driver.create_publisher(Image, topic, 10)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    driver.create_publisher(String, "robot_description", latched).publish(String(data=URDF))
    for name, message_type, topic, joints in (
        ("arm_controller", JointTrajectory, "arm_controller/joint_trajectory", ARM),
        ("gripper_controller", Float64MultiArray, "gripper_controller/commands", GRIPPER),
        ("velocity_controller", Float64MultiArray, "velocity_controller/commands", ARM),
    ):
        controller = Node(name, context=ros_context)
        controller.declare_parameter("joints", joints)
        controller.create_subscription(message_type, topic, lambda _: None, 10)
        spin(controller)
    return spin(driver)


def new_robot(file: Path, port: int, *arguments: str) -> int:
    server = ["--host", "127.0.0.1", "--port", str(port), "--action-rate-hz", "20"]
    return main(["new-robot", str(file), *server, "--listen-s", "60", *arguments])


def test_it_writes_what_it_finds_and_check_accepts_it(
    robot: Node, port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "robot.yaml"
    assert new_robot(file, port) == 0
    out = capsys.readouterr().out
    assert "the robot: 1 cameras, 3 measured joints, 2 command topics, a robot description" in out
    assert main(["check", str(file), "--host", "127.0.0.1", "--port", str(port)]) == 0
    text = file.read_text()
    assert "topic: /arm_controller/joint_trajectory\n        joints: [shoulder, elbow]" in text
    assert "type: float64_multi_array\n        topic: /gripper_controller/commands" in text


def test_the_limits_are_those_of_a_beginner_where_joints_turn(
    robot: Node, port: int, tmp_path: Path
) -> None:
    file = tmp_path / "robot.yaml"
    assert new_robot(file, port) == 0
    actions = file.read_text().partition("    action:")[2]
    arm, _, gripper = actions.partition("        joints: [finger]")
    assert "        max_velocity: 1.0   # rad/s" in arm
    assert "        max_velocity: 1.0" not in gripper
    assert "# max_velocity: 0.1   # m/s" in gripper


def test_a_robot_that_is_not_there_leaves_a_draft(
    ros_node: Node, port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "robot.yaml"
    assert new_robot(file, port, "--listen-s", "0.5") == 1
    out = capsys.readouterr().out
    assert "not matched: video.front" in out
    assert "problem: no action.<key>.topic: nothing to command" in out
    assert "there are no measured joints" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--listen-s", "0"], "must be above 0"),
        (["--action-rate-hz", "-5"], "must be above 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        new_robot(tmp_path / "robot.yaml", 5555, *arguments)
    assert error in capsys.readouterr().err


def test_a_file_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text("mine")
    with pytest.raises(SystemExit):
        new_robot(file, 5555)
    assert "exists; --force replaces it" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_server_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    assert new_robot(file, 1, "--timeout-ms", "200") == 1
    assert not file.exists()
