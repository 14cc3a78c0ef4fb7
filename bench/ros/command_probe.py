# SPDX-License-Identifier: Apache-2.0
"""Listens to commands and chunks: python -m bench.ros.command_probe [--feed] [--await-chunk]

Tells that the first command has come, and the first chunk where that is awaited, too; for each line
on stdin, tells the stamps of the commands since the line before (ns), the chunks since then, and
the time (ns).

With --feed it also is the robot and the policy: joint states at 30 Hz and a chunk every 0.2 s, so
that a control node has something to play on a machine that does nothing else.
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from bench.busy_policy import excursion
from bench.processes import tell
from bench.ros.robot import JOINTS, JOINTS_TOPIC, RATE_HZ, parameters
from gr00t_ros.contract.contract import parse_contract
from gr00t_ros.contract.parameters import CHUNK_TOPIC
from gr00t_ros.msg import ActionChunk
from gr00t_ros.node.qos import CHUNK, SENSOR
from gr00t_ros.policy.chunk_writer import chunk_message, command_paths

DEPTH = 2000  # commands that may wait while this process does not get a core
TURNS_PER_CHUNK = 6
END_POLL_S = 0.2  # the end of stdin is noticed when the executor wakes up


class Probe(Node):
    """Keeps commands as they came: to read them takes time that the loop shall have."""

    def __init__(self, topic: str) -> None:
        super().__init__("bench_probe")
        self.first_command = threading.Event()
        self.first_chunk = threading.Event()
        self.commands: list[bytes] = []
        self.chunks = 0
        self.create_subscription(
            JointState, topic, self._on_command, QoSProfile(depth=DEPTH), raw=True
        )
        self.create_subscription(ActionChunk, CHUNK_TOPIC, self._on_chunk, CHUNK)

    def take(self) -> dict[str, object]:
        """What has come since the last call."""
        commands, self.commands = self.commands, []
        chunks, self.chunks = self.chunks, 0
        stamps_ns = [_stamp_ns(deserialize_message(raw, JointState)) for raw in commands]
        return {"stamps_ns": stamps_ns, "chunks": chunks, "now_ns": time.time_ns()}

    def _on_command(self, raw: bytes) -> None:
        self.commands.append(raw)
        self.first_command.set()

    def _on_chunk(self, message: ActionChunk) -> None:
        self.chunks += 1
        self.first_chunk.set()


class Feed:
    """Joint states and chunks at little cost."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._contract = parse_contract(parameters())
        self._turn = 0
        self._joints = JointState(name=list(JOINTS), position=[0.0] * len(JOINTS))
        self._joints_publisher = node.create_publisher(JointState, JOINTS_TOPIC, SENSOR)
        self._chunk_publisher = node.create_publisher(ActionChunk, CHUNK_TOPIC, CHUNK)
        action = {"arm": excursion(np.zeros((1, 1, len(JOINTS))))}
        self._paths = command_paths(self._contract, action)
        node.create_timer(1.0 / RATE_HZ, self._publish)

    def _publish(self) -> None:
        now = self._node.get_clock().now().to_msg()
        self._joints.header.stamp = now
        self._joints_publisher.publish(self._joints)
        self._turn += 1
        if self._turn % TURNS_PER_CHUNK == 0:
            chunk_id = self._turn // TURNS_PER_CHUNK
            message = chunk_message(
                self._contract, self._paths, chunk_id=chunk_id, t0=now, round_trip_s=0.0
            )
            self._chunk_publisher.publish(message)


def _stamp_ns(message: JointState) -> int:
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def main() -> None:
    rclpy.init()
    node = Probe(parameters()["action.arm.topic"])
    if "--feed" in sys.argv[1:]:
        Feed(node)

    ending = threading.Event()

    def answer() -> None:
        node.first_command.wait()
        if "--await-chunk" in sys.argv[1:]:
            node.first_chunk.wait()
        tell("ready")
        for _ in sys.stdin:
            tell(node.take())
        ending.set()

    threading.Thread(target=answer, daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    # The node is ended by the thread that spins it: another one would pull it from under it.
    while not ending.is_set():
        executor.spin_once(timeout_sec=END_POLL_S)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
