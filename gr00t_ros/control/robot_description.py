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
        self._workspace_problem = ""

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
        try:
            self._chains, self._workspace_problem = workspace_chains(self._contract, text), ""
        except ValueError as error:
            self._chains, self._workspace_problem = {}, str(error)
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
        try:
            limits_in_force(self._contract, self._limits)
        except ValueError as error:
            return f"the limits contradict each other: {error}"
        if self._contract.workspaces and not self.topic:
            name = self._contract.workspaces[0].name
            return f"{name}: no robot description on {' or '.join(self._choice.topics)}"
        if self._workspace_problem:
            return self._workspace_problem
        if not self._contract.motion.require_urdf:
            return ""
        if not self.topic:
            where = " or ".join(self._choice.topics)
            return f"require_urdf: no robot description has arrived on {where}"
        joints = [joint for output in self._contract.action for joint in output.joints]
        missing = next((joint for joint in joints if joint not in self._limits), None)
        if missing is None:
            return ""
        return (
            f"require_urdf: the robot description on {self.topic} has no joint {missing}"
            f"{did_you_mean(missing, self._limits)}"
        )
