# SPDX-License-Identifier: Apache-2.0
"""The parts of the robot description on which motion depends: its limits and its gaps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gr00t_policy_core.kinematics.urdf import UrdfLimits, urdf_limits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.control.limits_in_force import limits_in_force
from gr00t_ros.control.workspaces import Chains, workspace_chains
from gr00t_ros.node.description_choice import DescriptionChoice


class RobotDescription:
    """The limits of the robot description.

    The description on the earliest topic of the list wins; one on a later topic is used until
    then.

    Args:
        contract: Names the topics and the commanded joints.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._choice = DescriptionChoice(contract.motion.robot_description_topics)
        self._limits: dict[str, UrdfLimits] = {}
        self._chains: Chains = {}
        self._workspace_problems: list[str] = []

    @property
    def limits(self) -> Mapping[str, UrdfLimits]:
        """The limits of the movable joints, by name; empty before a description has arrived."""
        return self._limits

    @property
    def chains(self) -> Chains:
        """The kinematics of the workspaces, by their keys; none before a description that fits."""
        return self._chains

    @property
    def topic(self) -> str:
        """The topic on which the description arrived; empty before that."""
        return self._choice.topic

    def update(self, topic: str, text: str) -> bool:
        """Store the description that was published on a topic.

        Args:
            topic: One of the topics of the contract.
            text: The URDF document, as robot_state_publisher publishes it.

        Returns:
            Whether the description is used: none has arrived on a preferred topic.

        Raises:
            ValueError: The text is not a URDF; the limits stay as they are.
        """
        limits = urdf_limits(text)
        if not self._choice.prefers(topic):
            return False
        self._limits = limits
        self._chains, self._workspace_problems = workspace_chains(self._contract, text)
        return True

    def warnings(self) -> Iterator[str]:
        """Yield a sentence for each commanded joint that is missing or has no range."""
        for output in self._contract.action:
            for joint in output.joints:
                limits = self._limits.get(joint)
                if limits is None:
                    yield (
                        f"{output.name}: the robot description has no joint {joint}"
                        f"{did_you_mean(joint, self._limits)}: it sets no limits for it"
                    )
                elif limits.warning and not output.interface.holds_zero:
                    yield limits.warning

    def motion_obstacle(self) -> str:
        """Why the robot must not move with the current description; empty if it may."""
        return next(self.motion_obstacles(), "")

    def motion_obstacles(self) -> Iterator[str]:
        """Yield every reason why the robot must not move with the current description."""
        contract, topics = self._contract, " or ".join(self._choice.topics)
        try:
            limits_in_force(contract, self._limits)
        except ValueError as error:
            yield f"the limits contradict each other: {error}"
        if contract.workspaces and not self.topic:
            yield f"{contract.workspaces[0].name}: no robot description on {topics}"
        yield from self._workspace_problems
        if not contract.motion.require_urdf:
            return
        if not self.topic:
            yield f"require_urdf: no robot description has arrived on {topics}"
            return
        for joint in (joint for output in contract.action for joint in output.joints):
            if joint not in self._limits:
                yield (
                    f"require_urdf: the robot description on {self.topic} has no joint {joint}"
                    f"{did_you_mean(joint, self._limits)}"
                )
