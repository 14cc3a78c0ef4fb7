# SPDX-License-Identifier: Apache-2.0
"""The contract as the inference sees it: with the robot description, once one has arrived. Pure."""

from __future__ import annotations

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.kinematics.chain import KinematicsUnavailableError, load_pinocchio
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.described import described, entries_to_describe
from gr00t_ros.node.description_choice import DescriptionChoice
from gr00t_ros.policy.observation_builder import NotReadyError


class DescribedContract:
    """A contract, and the robot description that its end effectors wait for.

    Args:
        contract: The user's parameters.

    Attributes:
        problem: Why the description in use does not fit; empty where it does.

    Raises:
        SpecError: An end effector is given, and Pinocchio is not installed.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._choice = DescriptionChoice(contract.motion.robot_description_topics)
        self._names = list(entries_to_describe(contract))
        self._described = contract if not self._names else None
        self.problem = ""
        if self._names:
            _require_pinocchio(self._names)

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics of the robot description; none where nothing waits for one."""
        return self._choice.topics if self._names else ()

    @property
    def contract(self) -> Contract:
        """The contract with the description.

        Raises:
            NotReadyError: No description has arrived, or the newest one does not fit.
        """
        if self._described is not None:
            return self._described
        if self.problem:
            raise NotReadyError(self.problem)
        where = " or ".join(self.topics) or "any topic: robot_description_topic is empty"
        raise NotReadyError(f"no robot description on {where}; {', '.join(self._names)} needs it")

    def update(self, topic: str, urdf: str) -> bool:
        """Use a robot description, unless one from a preferred topic has arrived.

        Args:
            topic: One of `topics`.
            urdf: The URDF document.

        Returns:
            Whether it is used. `contract` raises where it does not fit.
        """
        if not self._choice.prefers(topic):
            return False
        try:
            self._described, self.problem = described(self._contract, urdf), ""
        except SpecError as error:
            self._described, self.problem = None, f"{topic}: {error}"
        return True


def _require_pinocchio(names: list[str]) -> None:
    try:
        load_pinocchio()
    except KinematicsUnavailableError as error:
        raise SpecError("bad parameters", [f"{', '.join(names)}: {error}"]) from error
