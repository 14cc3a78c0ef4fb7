# SPDX-License-Identifier: Apache-2.0
"""The robot description as far as motion heeds it: where it comes from, and what it lacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.control.motion_setup import limits_in_force
from gr00t_ros.control.urdf import UrdfLimits, urdf_limits


class RobotDescription:
    """The limits of the robot description.

    Of several topics the first one counts on which a description has come; another is heeded until
    then.

    Args:
        contract: Names the topics, and the joints that are commanded.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._topics = contract.motion.robot_description_topics
        self._rank = len(self._topics)
        self._limits: dict[str, UrdfLimits] = {}

    @property
    def limits(self) -> Mapping[str, UrdfLimits]:
        """What it says of its moving joints, by name; empty before one has come."""
        return self._limits

    @property
    def topic(self) -> str:
        """Where it came from; empty before one has come."""
        return self._topics[self._rank] if self._rank < len(self._topics) else ""

    def take(self, topic: str, text: str) -> bool:
        """Take a description.

        Args:
            topic: One of the contract's.
            text: The URDF.

        Returns:
            Whether it is heeded: none has come on a topic that goes before this one.

        Raises:
            ValueError: The text is no URDF, and is not heeded.
        """
        limits, rank = urdf_limits(text), self._topics.index(topic)
        if rank > self._rank:
            return False
        self._limits, self._rank = limits, rank
        return True

    def doubts(self) -> Iterator[str]:
        """A sentence for each commanded joint that it does not have, or whose range it lacks."""
        for output in self._contract.action:
            for joint in output.joints:
                limits = self._limits.get(joint)
                if limits is None:
                    yield (
                        f"{output.name}: the robot description has no joint {joint}"
                        f"{did_you_mean(joint, self._limits)}: it sets no limits for it"
                    )
                elif limits.doubt and not output.interface.holds_zero:
                    yield limits.doubt

    def why_not_to_move(self) -> str:
        """Why the robot must not be moved with what has come so far; empty where it may."""
        try:
            limits_in_force(self._contract, self._limits)
        except ValueError as error:
            return f"the limits contradict each other: {error}"
        if not self._contract.motion.require_urdf:
            return ""
        if not self.topic:
            return f"require_urdf: no robot description has come on {' or '.join(self._topics)}"
        joints = [joint for output in self._contract.action for joint in output.joints]
        missing = next((joint for joint in joints if joint not in self._limits), None)
        if missing is None:
            return ""
        return (
            f"require_urdf: the robot description on {self.topic} has no joint {missing}"
            f"{did_you_mean(missing, self._limits)}"
        )
