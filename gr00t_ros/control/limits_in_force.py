# SPDX-License-Identifier: Apache-2.0
"""The limits of the commanded joints: the tighter one of the contract and the description. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.kinematics.urdf import UrdfLimits
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput

LimitSource = Literal["yaml", "urdf", "default"]
"""Where a limit comes from: the user's parameters, the robot description, our own defaults."""


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The limits of one commanded joint, and the source of each.

    An infinite range means that no source gives one.

    Args:
        key: The action key that commands the joint.
        number: The joint's place in that key.
        joint: Name of the joint in the URDF.
        limits: rad (or m) and s.
        lower, upper, velocity, acceleration, jerk: The source of each of the limits.
    """

    key: str
    number: int
    joint: str
    limits: JointLimits
    lower: LimitSource
    upper: LimitSource
    velocity: LimitSource
    acceleration: LimitSource
    jerk: LimitSource

    @property
    def position(self) -> str:
        """The sources of the range: one word, or ``lower/upper`` where they differ."""
        return self.lower if self.lower == self.upper else f"{self.lower}/{self.upper}"


def limits_in_force(
    contract: Contract, urdf: Mapping[str, UrdfLimits]
) -> tuple[LimitsInForce, ...]:
    """Return the limits of every joint that is commanded by name, in the order of the contract.

    A joint that is commanded in velocity has no range.

    Args:
        contract: Names the joints and holds the user's limits.
        urdf: The limits of the robot description, by joint; the tighter limit is in force.

    Raises:
        ValueError: Contract and robot description contradict each other; the text names the joint.
    """
    return tuple(
        _limits_in_force(output, number, urdf.get(joint, UrdfLimits()))
        for output in contract.action
        for number, joint in enumerate(output.joints)
    )


def _limits_in_force(output: ActionOutput, number: int, described: UrdfLimits) -> LimitsInForce:
    joint, own = output.joints[number], output.limits[number]
    if output.interface.holds_zero:
        described = UrdfLimits(velocity=described.velocity)
    of_urdf = {
        "lower": described.lower > own.lower,
        "upper": described.upper < own.upper,
        "velocity": described.velocity < own.velocity,
    }
    try:
        limits = JointLimits(
            lower=max(described.lower, own.lower),
            upper=min(described.upper, own.upper),
            velocity=min(described.velocity, own.velocity),
            acceleration=own.acceleration,
            jerk=own.jerk,
        )
    except ValueError as error:
        raise ValueError(f"{output.name}, joint {joint}: {error}") from error

    def source(field: str) -> LimitSource:
        if of_urdf.get(field, False):
            return "urdf"
        return "yaml" if field in output.limits_given else "default"

    return LimitsInForce(
        key=output.key,
        number=number,
        joint=joint,
        limits=limits,
        lower=source("lower"),
        upper=source("upper"),
        velocity=source("velocity"),
        acceleration=source("acceleration"),
        jerk=source("jerk"),
    )


def limits_by_index(
    limits: Iterable[LimitsInForce], layout: ActionLayout
) -> dict[int, JointLimits]:
    """Return the limits of joints, by their index in the command vector of a layout."""
    return {layout.slices[joint.key].start + joint.number: joint.limits for joint in limits}
