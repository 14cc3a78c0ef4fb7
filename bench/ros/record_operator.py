# SPDX-License-Identifier: Apache-2.0
"""Begins and ends an episode: python -m bench.ros.record_operator

Tells that the recorder is ready; begins an episode at the first line on stdin, ends it at the
second, and tells where it is and how long it took to save it, s.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import rclpy
from rclpy.node import Node

from bench.processes import tell
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.srv import StartEpisode, StopEpisode

ON_THE_WAY_S = 0.5  # for the last messages to arrive
ANSWER_S = 120.0


class Operator(Node):
    """Calls the recorder."""

    def __init__(self) -> None:
        super().__init__("bench_operator")
        self._start = self.create_client(StartEpisode, "recorder_node/start")
        self._stop = self.create_client(StopEpisode, "recorder_node/stop")
        self._state = RecorderStatus.STATE_STOPPED
        self.create_subscription(RecorderStatus, "recorder_node/status", self._on_status, 10)

    def wait_until_ready(self) -> None:
        """Wait until every stream is received."""
        while self._state != RecorderStatus.STATE_READY:
            rclpy.spin_once(self)

    def start(self) -> None:
        """Begin an episode."""
        self._call(self._start, StartEpisode.Request())

    def stop(self) -> str:
        """End the episode, and return its folder."""
        return str(self._call(self._stop, StopEpisode.Request(outcome="success")).path)

    def _on_status(self, status: RecorderStatus) -> None:
        self._state = status.state

    def _call(self, client: Any, request: Any) -> Any:
        client.wait_for_service(ANSWER_S)
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self, future, timeout_sec=ANSWER_S)
        response = future.result()
        if response is None or not response.success:
            raise RuntimeError(f"the recorder answered {response}")
        return response


def main() -> None:
    rclpy.init()
    operator = Operator()
    operator.wait_until_ready()
    tell("ready")
    sys.stdin.readline()
    operator.start()
    tell("recording")
    sys.stdin.readline()
    time.sleep(ON_THE_WAY_S)
    asked_s = time.monotonic()
    path = operator.stop()
    tell({"path": path, "save_s": time.monotonic() - asked_s})
    operator.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
