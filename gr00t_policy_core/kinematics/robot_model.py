# SPDX-License-Identifier: Apache-2.0
"""Where the links of a whole robot are, by Pinocchio."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.kinematics.chain import NO_TOOL, load_pinocchio
from gr00t_policy_core.kinematics.chain_description import FIXED, plain_joint
from gr00t_policy_core.kinematics.urdf import MOVING, robot_element

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mimic:
    """A joint that follows another: ``multiplier * position + offset``, rad (or m)."""

    joint: str
    multiplier: float
    offset: float


class RobotModel:
    """The links of a robot description, and the forward kinematics of all of them.

    Floating and planar joints stay at zero. An instance holds the working memory of its
    computations: each thread needs its own.

    Args:
        description: The URDF of the robot.

    Attributes:
        root: The link that no joint moves.
        links: The names of all links.
        joints: The joints of one value, by name: the link that each moves.

    Raises:
        ValueError: The text is not a URDF of one tree.
        KinematicsUnavailableError: Pinocchio is not installed.
    """

    def __init__(self, description: str) -> None:
        self._pin = load_pinocchio()
        robot = robot_element(description)
        joints = robot.findall("joint")
        self.links = tuple(link.get("name", "") for link in robot.findall("link"))
        self._above = {_link(joint, "child"): joint for joint in joints}
        roots = [link for link in self.links if link not in self._above]
        if len(roots) != 1:
            raise ValueError(f"the robot description has {len(roots)} root links, expected one")
        self.root = roots[0]
        moving = [joint for joint in joints if joint.get("type") in MOVING]
        self.joints = {joint.get("name", ""): _link(joint, "child") for joint in moving}
        self._mimics = {joint.get("name", ""): m for joint in moving if (m := _mimic(joint))}
        try:
            self._model = self._pin.buildModelFromXML(_plain_urdf(self.links, joints))
        except Exception as error:  # Pinocchio raises its own types for links without a joint
            raise ValueError(f"the robot description is not one tree: {error}") from error
        lost = [link for link in self.links if not self._model.existBodyName(link)]
        if lost:
            raise ValueError(f"no joints lead from {self.root} to {', '.join(lost)}")
        self._data = self._model.createData()
        self._places = {
            name: self._model.joints[self._model.getJointId(name)].idx_q for name in self.joints
        }
        self._frames = {link: self._model.getFrameId(link, self._pin.BODY) for link in self.links}

    def place(self, positions: Mapping[str, float]) -> None:
        """Move the joints; a joint that is not named is at zero, or follows the one it mimics.

        Args:
            positions: rad (or m) by joint; names that the robot lacks are left out.
        """
        vector = np.zeros(self._model.nq)
        for name, place in self._places.items():
            vector[place] = self._position(name, positions)
        self._pin.framesForwardKinematics(self._model, self._data, vector)

    def pose(self, tip: str, base: str = "", tool: tuple[float, ...] = NO_TOOL) -> Array:
        """Where a tool is, float64 (7,): x y z, m, and a quaternion x y z w; after `place`.

        Args:
            tip: The link that carries the tool.
            base: The link in whose frame the pose is given; empty for the root.
            tool: The pose of the tool in the frame of the tip: x y z, m, and x y z w.
        """
        in_root = self._placement(tip) * self._pin.XYZQUATToSE3(np.array(tool, dtype=np.float64))
        return np.array(self._pin.SE3ToXYZQUAT(self._placement(base or self.root).actInv(in_root)))

    def ends_of(self, joints: Collection[str]) -> tuple[str, ...]:
        """The last links that some joints move: nothing below them is moved by another of these.

        Args:
            joints: Names of joints; those that the robot lacks are left out.
        """
        known = [joint for joint in joints if joint in self.joints]
        inner = {above for joint in known for above in self._joints_above(self.joints[joint])[1:]}
        return tuple(self.joints[joint] for joint in known if joint not in inner)

    def _joints_above(self, link: str) -> list[str]:
        """The joints from a link to the root, the link's own first."""
        names: list[str] = []
        while link in self._above:
            names.append(self._above[link].get("name", ""))
            link = _link(self._above[link], "parent")
        return names

    def _position(self, name: str, positions: Mapping[str, float]) -> float:
        mimic = self._mimics.get(name)
        if mimic is None or name in positions:
            return positions.get(name, 0.0)
        return mimic.multiplier * positions.get(mimic.joint, 0.0) + mimic.offset

    def _placement(self, link: str) -> Any:
        return self._data.oMf[self._frames[link]]


def _plain_urdf(links: tuple[str, ...], joints: list[ElementTree.Element]) -> str:
    """The tree alone: no meshes, no masses, and no joint of more than one value."""
    robot = ElementTree.Element("robot", name="robot")
    for link in links:
        ElementTree.SubElement(robot, "link", name=link)
    for joint in joints:
        plain = plain_joint(joint)
        if joint.get("type") not in MOVING:
            plain.set("type", FIXED)
        robot.append(plain)
    return ElementTree.tostring(robot, encoding="unicode")


def _mimic(joint: ElementTree.Element) -> Mimic | None:
    mimic = joint.find("mimic")
    if mimic is None:
        return None
    multiplier, offset = float(mimic.get("multiplier", "1")), float(mimic.get("offset", "0"))
    if not (math.isfinite(multiplier) and math.isfinite(offset)):
        raise ValueError(f"joint {joint.get('name')}: its mimic is not finite")
    return Mimic(mimic.get("joint", ""), multiplier, offset)


def _link(joint: ElementTree.Element, side: str) -> str:
    link = joint.find(side)
    return "" if link is None else link.get("link", "")
