# SPDX-License-Identifier: Apache-2.0
"""A node of a benchmark as a process: python -m bench.ros.node NAME PARAMETER_FILE

`policy_node`, `control_node` and `recorder_node` are the product's; `rclpy_timer` is what is done
without them: the policy, its observations and the timer that commands the robot in one node. Ends
with stdin.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from array import array
from collections.abc import Callable

from sensor_msgs.msg import JointState

from bench.busy_policy import BusyPolicy
from bench.ros.robot import JOINTS, parameters
from gr00t_ros.control import control_node
from gr00t_ros.node.lifecycle import spin_node
from gr00t_ros.node.qos import COMMAND
from gr00t_ros.policy import policy_node
from gr00t_ros.policy.policy_node import PolicyNode
from gr00t_ros.record import recorder_node


class TimerNode(PolicyNode):
    """The policy node with the policy in its own process, and a plain timer beside it.

    The timer does less than the control node, nothing but publish: what it misses is not its own.
    """

    def __init__(self) -> None:
        super().__init__(policy_factory=lambda _: BusyPolicy())

    def configure(self) -> None:
        super().configure()
        self._command = JointState(name=list(JOINTS), position=array("d", [0.0] * len(JOINTS)))
        self._commands = self.create_publisher(
            JointState, parameters()["action.arm.topic"], COMMAND
        )
        self.create_timer(1.0 / self.get_parameter("control_rate_hz").value, self._publish)

    def _publish(self) -> None:
        self._command.header.stamp = self.get_clock().now().to_msg()
        self._commands.publish(self._command)


NODES: dict[str, Callable[[list[str]], int]] = {
    "policy_node": policy_node.main,
    "control_node": control_node.main,
    "recorder_node": recorder_node.main,
    "rclpy_timer": lambda args: spin_node(lambda _: TimerNode(), args),
}


def _end_in_order_with_stdin() -> None:
    def watch() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    name, parameter_file = sys.argv[1:]
    _end_in_order_with_stdin()
    ros_args = ["--ros-args", "--log-level", "error", "--params-file", parameter_file]
    raise SystemExit(NODES[name](ros_args))


if __name__ == "__main__":
    main()
