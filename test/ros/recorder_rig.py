# SPDX-License-Identifier: Apache-2.0
"""A recorder node with its operator and its robot, and what is found in its bags."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from nodes_for_tests import Operator, Robot
from rclpy.node import Node
from std_srvs.srv import Trigger

from gr00t_ros.bags.bag_metadata import custom_data_of
from gr00t_ros.bags.episode_info import EpisodeInfo
from gr00t_ros.msg import RecorderStatus
from gr00t_ros.record.recorder_node import RecorderNode
from gr00t_ros.srv import LabelEpisode, StartEpisode, StopEpisode


@dataclass(slots=True, kw_only=True)
class RecorderRig:
    """A recorder in this process.

    Args:
        node: The recorder.
        peer: A node to talk to it.
        operator: Calls its services.
        robot: Publishes the streams; None where the test does not want one.
        folder: Where it records.
    """

    node: RecorderNode
    peer: Node
    operator: Operator
    robot: Robot | None
    folder: Path

    def start(self, task: str = "") -> StartEpisode.Response:
        return self.operator.call("start", StartEpisode, StartEpisode.Request(task=task))

    def stop(self, outcome: str = "", notes: str = "") -> StopEpisode.Response:
        request = StopEpisode.Request(outcome=outcome, notes=notes)
        return self.operator.call("stop", StopEpisode, request)

    def discard(self) -> Trigger.Response:
        return self.operator.trigger("discard")

    def label(self, outcome: str, episode: str = "", notes: str = "") -> LabelEpisode.Response:
        request = LabelEpisode.Request(outcome=outcome, episode=episode, notes=notes)
        return self.operator.call("label", LabelEpisode, request)

    def wait_until(self, state: int) -> RecorderStatus:
        return self.operator.wait_for_status(lambda s: s.state == state, f"the state {state}")

    def begin(self, task: str = "") -> str:
        """Begin an episode once every stream is received, and return its name."""
        self.wait_until(RecorderStatus.STATE_READY)
        response = self.start(task)
        assert response.success, response.message
        return response.episode

    def wait_for_messages(self, count: int) -> RecorderStatus:
        return self.operator.wait_for_status(
            lambda s: s.state == RecorderStatus.STATE_RUNNING and s.messages >= count,
            f"{count} messages",
        )

    def episodes(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


StartRecorder = Callable[..., RecorderRig]


def info_of(bag: Path | str) -> EpisodeInfo:
    return EpisodeInfo.from_custom_data(custom_data_of(Path(bag)))


def messages_of(bag: Path | str) -> dict[str, list[Any]]:
    """The decoded messages of a bag by topic, in the order of the file."""
    found: dict[str, list[Any]] = {}
    (path,) = Path(bag).glob("*.mcap")
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append(message)
    return found


def recorder_process(*arguments: str) -> list[str]:
    """The command line of a recorder as a process."""
    program = "import sys; from gr00t_ros.record.recorder_node import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]
