# SPDX-License-Identifier: Apache-2.0
"""The joints between two links of a robot description, as a URDF of their own. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from xml.etree import ElementTree

from gr00t_policy_core.kinematics.urdf import MOVING, UrdfLimits, joint_limits, robot_element

FIXED = "fixed"
UNLIMITED_M = 1e3  # what a prismatic joint without limits counts for in a lever


@dataclass(frozen=True, slots=True)
class ChainDescription:
    """The links and joints from `base` to `tip`, and nothing else of the robot.

    Args:
        urdf: They as a URDF whose root is `base`; every moving joint is revolute or prismatic, so
            that it has one value.
        joints: The moving joints from the base to the tip.
        limits: The limits of `joints`, in their order.
        levers: The most that the tip moves for each of `joints`, m per rad (or m).
    """

    urdf: str
    joints: tuple[str, ...]
    limits: tuple[UrdfLimits, ...]
    levers: tuple[float, ...]


def describe_chain(
    description: str, base: str, tip: str, tool_length_m: float = 0.0
) -> ChainDescription:
    """Find the chain of joints from one link of a robot to another.

    Args:
        description: The URDF document.
        base: The link in which poses are expressed.
        tip: The link whose pose is meant, on a branch that begins at `base`.
        tool_length_m: How far the point of interest is from the tip, m; only the levers need it.

    Raises:
        ValueError: The document is not a URDF, lacks a link, `base` does not carry `tip`, or a
            joint between them has more than one degree of freedom or mimics another.
    """
    robot = robot_element(description)
    links = [link.get("name", "") for link in robot.findall("link")]
    for link in (base, tip):
        if link not in links:
            raise ValueError(f"the robot description has no link {link}{_nearest(link, links)}")
    elements = _elements(robot, base, tip)
    moving = [joint for joint in elements if joint.get("type") != FIXED]
    if not moving:
        raise ValueError(f"no joint moves {tip} against {base}")
    limits = tuple(joint_limits(joint) for joint in moving)
    chain = ElementTree.Element("robot", name="chain")
    ElementTree.SubElement(chain, "link", name=base)
    for joint in elements:
        ElementTree.SubElement(chain, "link", name=_link(joint, "child"))
        chain.append(plain_joint(joint))
    return ChainDescription(
        urdf=ElementTree.tostring(chain, encoding="unicode"),
        joints=tuple(joint.get("name", "") for joint in moving),
        limits=limits,
        levers=_levers(elements, tool_length_m),
    )


def _elements(robot: ElementTree.Element, base: str, tip: str) -> list[ElementTree.Element]:
    """The joints from the base to the tip, fixed ones included."""
    by_child = {_link(joint, "child"): joint for joint in robot.findall("joint")}
    elements: list[ElementTree.Element] = []
    link = tip
    while link != base:
        joint = by_child.get(link)
        if joint is None or joint in elements:
            raise ValueError(
                f"no joints lead from {base} to {tip}: choose a base that carries the tip, such as "
                f"{link}"
            )
        _require_one_value(joint)
        elements.append(joint)
        link = _link(joint, "parent")
    return elements[::-1]


def _require_one_value(joint: ElementTree.Element) -> None:
    name, kind = joint.get("name"), joint.get("type")
    if kind not in (*MOVING, FIXED):
        raise ValueError(f"joint {name} is {kind}: only {', '.join(MOVING)} and fixed joints move")
    mimic = joint.find("mimic")
    if mimic is not None:
        raise ValueError(f"joint {name} mimics {mimic.get('joint')}: it cannot be solved for")


def plain_joint(joint: ElementTree.Element) -> ElementTree.Element:
    """The joint with its place and its axis alone; its limits are kept apart."""
    kind = joint.get("type", "")
    is_turning = kind in ("revolute", "continuous")
    plain = ElementTree.Element(
        "joint", name=joint.get("name", ""), type="revolute" if is_turning else kind
    )
    for name in ("parent", "child", "origin", "axis"):
        part = joint.find(name)
        if part is not None:
            plain.append(part)
    if kind != FIXED:
        unlimited = {"lower": "-1e9", "upper": "1e9", "velocity": "1e9", "effort": "1e9"}
        ElementTree.SubElement(plain, "limit", unlimited)
    return plain


def _levers(elements: list[ElementTree.Element], tool_length_m: float) -> tuple[float, ...]:
    """The levers of the moving joints: the links from a joint to the tip, stretched out."""
    levers: list[float] = []
    reach_m = tool_length_m
    for joint in reversed(elements):
        if joint.get("type") == "prismatic":
            levers.append(1.0)
            limits = joint_limits(joint)
            reach_m += min(max(abs(limits.lower), abs(limits.upper)), UNLIMITED_M)
        elif joint.get("type") != FIXED:
            levers.append(reach_m)
        reach_m += math.hypot(*_origin_m(joint))
    return tuple(levers[::-1])


def _origin_m(joint: ElementTree.Element) -> list[float]:
    origin = joint.find("origin")
    text = "0 0 0" if origin is None else origin.get("xyz", "0 0 0")
    try:
        numbers = [float(number) for number in text.split()]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"joint {joint.get('name')}: origin is not three numbers: {text!r}")
    return numbers


def _link(joint: ElementTree.Element, side: str) -> str:
    link = joint.find(side)
    return "" if link is None else link.get("link", "")


def _nearest(name: str, known: list[str]) -> str:
    found = get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]}?)" if found else f"; it has {', '.join(known)}"
