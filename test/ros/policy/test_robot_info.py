# SPDX-License-Identifier: Apache-2.0
"""The policy node tells the server what its robot is doing."""

from __future__ import annotations

from helpers import wait_until
from rclpy.node import Node

from gr00t_ros.msg import ControlStatus
from gr00t_ros.node.qos import STATUS
from gr00t_ros.policy.robot_info import CONTROL_STATUS_TOPIC, RobotInfo


def test_the_status_of_the_control_node_goes_with_the_options(ros_node: Node) -> None:
    info = RobotInfo(ros_node, robot="left", task=lambda: "pick up the apple")
    assert info.with_info({"rtc": 1}, ("jpeg",)) == {"rtc": 1}
    assert info.with_info(None, ()) is None
    publisher = ros_node.create_publisher(ControlStatus, CONTROL_STATUS_TOPIC, STATUS)
    wait_until(publisher.get_subscription_count, what="it listens")

    def tell(state: int, reason: str, holds: int) -> None:
        publisher.publish(ControlStatus(state=state, reason=reason, holds=holds))

    tell(ControlStatus.STATE_RUNNING, "", 5)
    tell(ControlStatus.STATE_HOLDING, "holding: the position of elbow is 0.51 s old", 6)
    tell(ControlStatus.STATE_RUNNING, "", 6)
    tell(ControlStatus.STATE_HOLDING, "holding: the position of elbow is 0.73 s old", 8)

    def told() -> dict[str, object]:
        options = info.with_info({"rtc": 1}, ("client_info",))
        assert options is not None
        assert options["rtc"] == 1
        return options["client_info"]

    wait_until(lambda: told()["holds"] == {"the position of elbow is # s old": 3}, what="3 holds")
    assert told() == {
        "robot": "left",
        "task": "pick up the apple",
        "state": "holding",
        "reason": "holding: the position of elbow is 0.73 s old",
        "outcomes": {},
        "holds": {"the position of elbow is # s old": 3},
    }
    info.destroy()
