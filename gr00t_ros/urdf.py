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
    """What a URDF says of one joint, rad (or m) and s; infinite where it says nothing."""

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf


def urdf_limits(description: str) -> dict[str, UrdfLimits]:
    """The limits of every moving joint, by name (http://wiki.ros.org/urdf/XML/joint).

    A `safety_controller`'s soft limits are heeded where they are tighter.

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
    is_limited = joint.get("type") in LIMITED
    return UrdfLimits(
        lower=max(
            _number(joint, limit, "lower", 0.0 if is_limited else -math.inf, is_limited),
            _number(joint, safety, "soft_lower_limit", -math.inf, is_limited),
        ),
        upper=min(
            _number(joint, limit, "upper", 0.0 if is_limited else math.inf, is_limited),
            _number(joint, safety, "soft_upper_limit", math.inf, is_limited),
        ),
        # Zero is what exporters write for "not known".
        velocity=_number(joint, limit, "velocity", math.inf, True) or math.inf,
    )


def _number(
    joint: ElementTree.Element,
    element: ElementTree.Element | None,
    name: str,
    default: float,
    applies: bool,
) -> float:
    if element is None or not applies or element.get(name) is None:
        return default
    text = element.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"joint {joint.get('name')}: {name} is no number: {text!r}")
    return value
