# SPDX-License-Identifier: Apache-2.0
"""What is known of the robot: its description, its tips, its newest joint positions. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gr00t_policy_core.kinematics.chain import KinematicsUnavailableError
from gr00t_policy_core.kinematics.prefixed_urdf import prefixed_urdf
from gr00t_policy_core.kinematics.robot_model import RobotModel
from gr00t_ros.contract.contract import Contract
from gr00t_ros.node.description_choice import DescriptionChoice
from gr00t_ros.visualization.joint_messages import GHOST_PREFIX
from gr00t_ros.visualization.tips import Tip, find_tips


class RobotView:
    """The robot as it can be drawn.

    Args:
        contract: Names the topics of the description and the tips.

    Attributes:
        positions: The newest measured positions, rad (or m), by joint.
        model: The kinematics; None before a description that fits, and without Pinocchio.
        tips: The links whose paths are drawn.
        ghost_urdf: The description with prefixed names; empty before a description.
        problem: Why no path can be computed from joints; empty where it can.
    """

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._choice = DescriptionChoice(contract.motion.robot_description_topics)
        self.positions: dict[str, float] = {}
        self.model: RobotModel | None = None
        self.tips: tuple[Tip, ...] = ()
        self.ghost_urdf = ""
        where = " or ".join(self._choice.topics) or "any topic: robot_description_topic is empty"
        self.problem = f"no robot description on {where}"

    def describe(self, topic: str, urdf: str) -> bool:
        """Use a robot description, unless one from a preferred topic has arrived.

        Args:
            topic: The topic that it was published on.
            urdf: The URDF document.

        Returns:
            Whether it is used.
        """
        if not self._choice.prefers(topic):
            return False
        self.model, self.tips, self.ghost_urdf = None, (), ""
        try:
            self.ghost_urdf = prefixed_urdf(urdf, GHOST_PREFIX)
            model = RobotModel(urdf)
            self.tips = find_tips(self._contract, model)
        except (ValueError, KinematicsUnavailableError) as error:
            self.problem = f"{topic}: {error}"
            return True
        self.model = model
        self.problem = "" if self.tips else "no tip: name links in visualize.tips"
        return True

    def measure(self, names: Sequence[str], positions: Sequence[float]) -> None:
        """Store measured positions, rad (or m); values that are not finite are left out."""
        for name, position in zip(names, positions, strict=False):
            if math.isfinite(position):
                self.positions[name] = position
