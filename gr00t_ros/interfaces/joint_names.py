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


class JointGroupCommand(CommandInterface):
    """Positions of named joints, in a message that can hold several actions."""

    parameters = (JOINTS,)
    limited_by = LimitedBy.JOINT_LIMITS

    def __init__(self, settings: Settings) -> None:
        self.joints = unique_joints(settings)
        self.dimension = len(self.joints)

    def joined(self, others: Sequence[CommandInterface]) -> CommandInterface:
        joints = [joint for interface in (self, *others) for joint in interface.joints]
        return type(self)({"joints": list(dict.fromkeys(joints))})


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
