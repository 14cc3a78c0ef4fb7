# SPDX-License-Identifier: Apache-2.0
"""A second robot beside the first: a URDF whose links and joints have a prefix. Pure."""

from __future__ import annotations

from xml.etree import ElementTree

from gr00t_policy_core.kinematics.urdf import robot_element

# What a picture of the robot needs; drivers and simulators must not find the rest twice.
SHOWN = ("link", "joint", "material")


def prefixed_urdf(description: str, prefix: str) -> str:
    """Return the description with a prefix before the name of each link and joint.

    Only links, joints and materials are kept.

    Args:
        description: The URDF document.
        prefix: Goes before each name, for example ``ghost/``.

    Raises:
        ValueError: The text is not a URDF.
    """
    robot = robot_element(description)
    for element in list(robot):
        if element.tag not in SHOWN:
            robot.remove(element)
    for element in (*robot.findall("link"), *robot.findall("joint")):
        _prefix(element, "name", prefix)
    for joint in robot.findall("joint"):
        for side in (*joint.findall("parent"), *joint.findall("child")):
            _prefix(side, "link", prefix)
        for mimic in joint.findall("mimic"):
            _prefix(mimic, "joint", prefix)
    return ElementTree.tostring(robot, encoding="unicode")


def _prefix(element: ElementTree.Element, attribute: str, prefix: str) -> None:
    element.set(attribute, prefix + element.get(attribute, ""))
