# SPDX-License-Identifier: Apache-2.0
"""The joint limits of a robot description. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.parsers import expat

# Comments, CDATA and processing instructions; one that is not closed reaches to the end.
_NO_MARKUP = re.compile(r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)
# The & of everything but the five entities of XML itself and references to characters.
_REFERENCE = re.compile(r"&(?!(?:lt|gt|amp|quot|apos|#[0-9]+|#x[0-9A-Fa-f]+);)")

LIMITED = ("revolute", "prismatic")
MOVING = (*LIMITED, "continuous")


@dataclass(frozen=True, slots=True)
class UrdfLimits:
    """The limits of one joint in a URDF, rad (or m) and s; infinite where the URDF gives none.

    `warning` says which limits are ignored, and what to do; empty if there are none.
    """

    lower: float = -math.inf
    upper: float = math.inf
    velocity: float = math.inf
    warning: str = ""


def urdf_limits(description: str) -> dict[str, UrdfLimits]:
    """Return the limits of every moving joint, by name (http://wiki.ros.org/urdf/XML/joint).

    It accepts what urdfdom accepts, the parser behind robot_state_publisher: names count as
    written, without regard to namespaces; only joints directly below `robot` count.

    The soft limits of a `safety_controller` are used where they are tighter. A range of no width
    is ignored: taken literally, the joint could not move, but exporters write such a range, or
    none, if the range is unknown.

    Raises:
        ValueError: The text is not a URDF, has a joint twice, or a limit that is not a number.
    """
    robot = robot_element(description)
    limits: dict[str, UrdfLimits] = {}
    for joint in robot.findall("joint"):
        name = joint.get("name", "")
        if name in limits:
            raise ValueError(f"the robot description has two joints {name}")
        if joint.get("type") in MOVING:
            limits[name] = joint_limits(joint)
    return limits


def sliding_joints(description: str) -> frozenset[str]:
    """Return the names of the prismatic joints, whose positions are metres.

    Raises:
        ValueError: The text is not a URDF.
    """
    joints = robot_element(description).findall("joint")
    return frozenset(j.get("name", "") for j in joints if j.get("type") == "prismatic")


def robot_element(description: str) -> ElementTree.Element:
    """Return the root of a URDF, read as urdfdom reads it.

    Raises:
        ValueError: The text is not a URDF.
    """
    robot = _parsed(description)
    if robot.tag != "robot":
        raise ValueError(
            f"the robot description is not a URDF: it is a <{robot.tag}>, not a <robot>"
        )
    return robot


def root_link(robot: ElementTree.Element) -> str:
    """Return the link that no joint moves.

    Args:
        robot: The root element, as `robot_element` returns it.

    Raises:
        ValueError: There is none, or more than one.
    """
    moved = {child.get("link") for child in robot.findall("joint/child")}
    links = [link.get("name", "") for link in robot.findall("link")]
    roots = [name for name in links if name not in moved]
    if len(roots) != 1:
        raise ValueError(f"the robot description has {len(roots)} root links, expected one")
    return roots[0]


def _parsed(description: str) -> ElementTree.Element:
    """Parse the elements and attributes of a document as tinyxml2 does, which urdfdom uses.

    It accepts blank lines before the XML declaration, ``--`` within comments, and prefixes that are
    bound to nothing. A DOCTYPE is skipped. No entity is ever expanded: a reference to one is text.
    """
    text = _NO_MARKUP.sub("", description)
    text = _REFERENCE.sub("&amp;", text).strip("\ufeff\0 \t\r\n")
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate("utf-8")  # without a separator, namespaces mean nothing to it
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.specified_attributes = True  # and none that a DOCTYPE gives by default
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise ValueError(f"the robot description is not XML: {error}") from error
    return builder.close()


def joint_limits(joint: ElementTree.Element) -> UrdfLimits:
    """Return the limits of the element of a moving joint; see `urdf_limits`.

    Raises:
        ValueError: A limit is not a number.
    """
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
    warnings = "; ".join(_warning(joint, span) for span in (hard, soft) if span[0] == span[1])
    return UrdfLimits(lower, upper, velocity, warnings)


def _warning(joint: ElementTree.Element, span: tuple[float, float]) -> str:
    return (
        f"joint {joint.get('name')}: its range from {span[0]:g} to {span[1]:g} is ignored; give "
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
        value = float(text.replace("_", "?"))  # Python reads 1_0 as 10, others do not
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"joint {joint.get('name')}: {name} is not a number: {text!r}")
    return value
