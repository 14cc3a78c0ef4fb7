# SPDX-License-Identifier: Apache-2.0
"""The services that the page's buttons call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from std_srvs.srv import SetBool, Trigger

from gr00t_ros.srv import LabelEpisode, StartEpisode, StopEpisode

ANSWER_S = 10.0
DISK_S = 90.0  # for an episode on its way to the disk


@dataclass(frozen=True, slots=True)
class Command:
    """A service, and its request of the text that comes with the button.

    Args:
        service: Its name, relative to the namespace of the nodes.
        kind: Its type.
        request: Makes the request of a text, which most commands do not use.
        answer_s: How long the answer may take, s.
    """

    service: str
    kind: type[Any]
    request: Callable[[str], Any]
    answer_s: float = ANSWER_S

    @property
    def node(self) -> str:
        """The node that offers the service."""
        return self.service.partition("/")[0]


def _trigger(service: str, answer_s: float = ANSWER_S) -> Command:
    return Command(service, Trigger, lambda _: Trigger.Request(), answer_s)


def _set_bool(service: str, data: bool) -> Command:
    return Command(service, SetBool, lambda _: SetBool.Request(data=data))


COMMANDS = {
    "start_policy": _trigger("policy_node/start"),
    "stop_policy": _trigger("policy_node/stop"),
    "allow_motion": _trigger("control_node/start"),
    "stop_motion": _trigger("control_node/stop"),
    "go_live": _trigger("control_node/go_live"),
    "go_shadow": _trigger("control_node/go_shadow"),
    "intervene": _set_bool("control_node/intervene", True),
    "hand_back": _set_bool("control_node/intervene", False),
    "start_episode": Command(
        "recorder_node/start", StartEpisode, lambda task: StartEpisode.Request(task=task)
    ),
    "stop_episode": Command(
        "recorder_node/stop",
        StopEpisode,
        lambda outcome: StopEpisode.Request(outcome=outcome),
        DISK_S,
    ),
    "discard_episode": _trigger("recorder_node/discard", DISK_S),
    "label_episode": Command(
        "recorder_node/label", LabelEpisode, lambda outcome: LabelEpisode.Request(outcome=outcome)
    ),
}


@dataclass(frozen=True, slots=True)
class Opposites:
    """Two commands.

    Args:
        start: Lets the robot move.
        stop: Keeps it from moving.
        undoes_late_starts: Whether a start that was not answered in time is undone later.
    """

    start: str
    stop: str
    undoes_late_starts: bool = True


OPPOSITES = (
    Opposites("start_policy", "stop_policy", undoes_late_starts=False),  # it may load a model
    Opposites("allow_motion", "stop_motion"),
    Opposites("go_live", "go_shadow"),
)
UNDONE_BY = {
    both.start: COMMANDS[both.stop].service for both in OPPOSITES if both.undoes_late_starts
}
