# SPDX-License-Identifier: Apache-2.0
"""A recorder node as a process, and the operator who begins and ends its episodes."""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node

from gr00t_ros.bags.episode_info import FAILURE, SUCCESS
from gr00t_ros.sim.demo_processes import DemoProcesses, config, executable
from gr00t_ros.sim.service_calls import call
from gr00t_ros.srv import StartEpisode, StopEpisode

CONFIG = "demo_data.yaml"


def recorder_command(folder: Path) -> list[str]:
    """The recorder node."""
    return [
        *(str(executable("recorder_node")), "--ros-args"),
        *("--params-file", str(config(CONFIG))),
        *("-p", f"record.folder:={folder}", "-p", "autostart:=true"),
    ]


class RecordingSession:
    """Records episodes, one after the other.

    Args:
        node: Calls the recorder; another thread spins it.
        processes: Runs the recorder.
        folder: Of the episodes.
    """

    def __init__(self, node: Node, processes: DemoProcesses, folder: Path) -> None:
        self._node = node
        self._processes = processes
        processes.start("recorder_node", recorder_command(folder))

    def begin(self, task: str) -> None:
        """Begin an episode, as soon as the cameras and the joints are received.

        Raises:
            DemoError: The recorder does not begin one.
        """

        def has_begun() -> bool:
            request = StartEpisode.Request(task=task)
            response = call(self._node, StartEpisode, "recorder_node/start", request)
            return bool(response.success)

        self._processes.wait_until(has_begun, "the recorder begins an episode")

    def end(self, *, success: bool) -> Path:
        """End the episode, and return its folder once it is on the disk.

        Raises:
            RuntimeError: The recorder could not bring it there.
        """
        request = StopEpisode.Request(outcome=SUCCESS if success else FAILURE)
        response = call(self._node, StopEpisode, "recorder_node/stop", request)
        if not response.success:
            raise RuntimeError(f"the recorder: {response.message}")
        return Path(response.path)
