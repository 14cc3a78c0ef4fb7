# SPDX-License-Identifier: Apache-2.0
"""The common parts of the message types that name their joints. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gr00t_ros.contract.parameter import Parameter, Settings
from gr00t_ros.interfaces.interface import CommandInterface, ConversionError, LimitedBy, Values

_DESCRIPTION = "names of the joints, in the policy's order"
JOINTS = Parameter("joints", [], _DESCRIPTION, required=True)
OPTIONAL_JOINTS = Parameter("joints", [], _DESCRIPTION)
JOINT_PREFIX = Parameter(
    "joint_prefix",
    "",
    "how each of `joints` begins, which the names in the messages lack: two arms whose drivers "
    "name their joints alike need names that differ",
)


class JointGroupCommand(CommandInterface):
    """Positions of named joints, in a message that can hold several actions.

    `message_joints` are the names that the messages have.
    """

    parameters = (JOINTS, JOINT_PREFIX)
    limited_by = LimitedBy.JOINT_LIMITS

    def __init__(self, settings: Settings) -> None:
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints)
        self.joint_prefix: str = settings["joint_prefix"]
        self.message_joints = without_prefix(self.joints, self.joint_prefix)

    def joined(self, others: Sequence[CommandInterface]) -> CommandInterface | None:
        if any(getattr(other, "joint_prefix", "") != self.joint_prefix for other in others):
            return None
        joints = [joint for interface in (self, *others) for joint in interface.joints]
        settings = {"joints": list(dict.fromkeys(joints)), "joint_prefix": self.joint_prefix}
        return type(self)(settings)


def unique_joints(settings: Settings) -> tuple[str, ...]:
    """Return the value of the parameter `joints`.

    Raises:
        ValueError: A name is given twice.
    """
    joints = tuple(settings["joints"])
    repeated = sorted({joint for joint in joints if joints.count(joint) > 1})
    if repeated:
        raise ValueError(f"joints repeats {repeated}")
    return joints


def without_prefix(joints: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Return the names that joints have in messages.

    Raises:
        ValueError: A name does not begin with the prefix, or has nothing after it.
    """
    wrong = [joint for joint in joints if not joint.startswith(prefix) or joint == prefix]
    if wrong:
        raise ValueError(f"joint_prefix is {prefix!r}, {', '.join(wrong)} must begin with it")
    return tuple(joint.removeprefix(prefix) for joint in joints)


def values_by_name(
    joints: Sequence[str], names: Sequence[str], positions: Sequence[float]
) -> Values:
    """Return the position of each joint in a message that may have others, and in any order.

    Args:
        joints: The joints that are wanted.
        names: The joints of the message.
        positions: Their positions, rad (or m).

    Returns:
        float64 (len(joints),).

    Raises:
        ConversionError: The message has no position of one of the joints.
    """
    known = dict(zip(names, positions, strict=False))
    missing = [joint for joint in joints if joint not in known]
    if missing:
        raise ConversionError(f"the message has no position of {missing}, only of {list(known)}")
    return np.array([known[joint] for joint in joints], dtype=np.float64)
