# SPDX-License-Identifier: Apache-2.0
"""Whether a person drove at a time, by what the control node said of it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import Any

from std_msgs.msg import Bool

from gr00t_ros.bags.reader import Bag
from gr00t_ros.contract.contract import Contract
from gr00t_ros.interfaces.registry import ros_type
from gr00t_ros.policy.observation_builder import NotReadyError

# The control node says at 10 Hz who drives; silent for longer, it has ended, and nobody drives.
SILENT_S = 1.0


def intervention_topic(bag: Bag, contract: Contract) -> str | None:
    """The topic of a bag that says whether a person drives; None if it has none.

    Args:
        bag: Our recorder's, which has the topic by its full name in the namespace of its nodes; or
            another one, whose namespace the contract knows.
        contract: Names the topic.
    """
    known = [topic for topic, kind in bag.topics.items() if kind == ros_type(Bool)]
    if contract.intervention_topic in known or bag.info is None:
        return contract.intervention_topic if contract.intervention_topic in known else None
    name = contract.intervention_topic.rsplit("/", 1)[-1]
    named_alike = [topic for topic in known if topic.rsplit("/", 1)[-1] == name]
    return named_alike[0] if len(named_alike) == 1 else None


class Interventions:
    """Knows whether a person drove at a time; without a topic nobody ever did.

    Args:
        topic: The topic of `std_msgs/Bool` that says so; None if the bag has none.
    """

    def __init__(self, topic: str | None) -> None:
        self._topic = topic
        self._said: list[tuple[int, bool]] = []

    @property
    def topics(self) -> dict[str, type[Any]]:
        """The topic with its type, if there is one."""
        return {self._topic: Bool} if self._topic is not None else {}

    def receive(self, topic: str, message: Any, now_ns: int) -> None:
        """Take note of a message, if it is one of the topic; it has no stamp of its own."""
        if topic == self._topic:
            self._said.append((now_ns, message.data))

    def at(self, time_ns: int) -> bool:
        """Whether a person drove at a time; before the first message, as that one says.

        Raises:
            NotReadyError: A person drove when the control node fell silent.
        """
        if not self._said:
            return False
        newest = max(0, bisect_right(self._said, time_ns, key=itemgetter(0)) - 1)
        del self._said[:newest]  # times only grow
        said_ns, drives = self._said[0]
        silent_s = (time_ns - said_ns) * 1e-9
        if drives and silent_s > SILENT_S:
            raise NotReadyError(f"intervention: stale on {self._topic}", f"{silent_s:.2f} s old")
        return drives

    def clear(self) -> None:
        """Forget everything: the clock was set."""
        self._said.clear()
