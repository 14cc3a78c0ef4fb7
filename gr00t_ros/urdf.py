# SPDX-License-Identifier: Apache-2.0
"""The joint limits of a robot description. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

LIMITED = ("revolute", "prismatic")
MOVING = (*LIMITED, "continuous")


@dataclass(frozen=True, slots=True)
class UrdfLimits:
    """What a URDF says of one joint, rad (or m) and s; infinite where it says nothing.

    `doubt` says what is not heeded, and what to do; empty where all of it is.
    """

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    doubt: str = ""


def urdf_limits(description: str) -> dict[str, UrdfLimits]:
    """The limits of every moving joint, by name (http://wiki.ros.org/urdf/XML/joint).

    A `safety_controller`'s soft limits are heeded where they are tighter. A range of no width is
    not heeded: by the letter the joint could not move, but so it is written, or left out, where
    nobody knows the range.

    Raises:
        ValueError: The text is no URDF, or a limit is no number.
    """
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        raise ValueError("a robot description with entities is refused")
    try:
        robot = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        raise ValueError(f"the robot description is no XML: {error}") from error
    return {
        joint.get("name", ""): _limits(joint)
        for joint in robot.iter("joint")
        if joint.get("type") in MOVING
    }


def _limits(joint: ElementTree.Element) -> UrdfLimits:
    limit, safety = joint.find("limit"), joint.find("safety_controller")
    # Zero is what exporters write for "not known".
    velocity = _number(joint, limit, "velocity", math.inf) or math.inf
    if joint.get("type") not in LIMITED:
        return UrdfLimits(velocity=velocity)
    hard = _number(joint, limit, "lower", 0.0), _number(joint, limit, "upper", 0.0)
    soft = (
        _number(joint, safety, "soft_lower_limit", -math.inf),
        _number(joint, safety, "soft_upper_limit", math.inf),
    )
    ranges = [span for span in (hard, soft) if span[0] != span[1]]
    lower = max((span[0] for span in ranges), default=-math.inf)
    upper = min((span[1] for span in ranges), default=math.inf)
    doubts = "; ".join(_doubt(joint, span) for span in (hard, soft) if span[0] == span[1])
    return UrdfLimits(lower, upper, velocity, doubts)


def _doubt(joint: ElementTree.Element, span: tuple[float, float]) -> str:
    return (
        f"joint {joint.get('name')}: its range from {span[0]:g} to {span[1]:g} is not heeded; give "
        "it lower < upper in the URDF, or make it continuous, or set min_position and max_position"
    )


def _number(
    joint: ElementTree.Element,
    element: ElementTree.Element | None,
    name: str,
    default: float,
) -> float:
    if element is None or element.get(name) is None:
        return default
    text = element.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"joint {joint.get('name')}: {name} is no number: {text!r}")
    return value
