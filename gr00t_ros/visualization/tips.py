# SPDX-License-Identifier: Apache-2.0
"""The tips whose paths are drawn: which link, with which tool, in which frame. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gr00t_policy_core.kinematics.chain import NO_TOOL
from gr00t_policy_core.kinematics.robot_model import RobotModel
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput
from gr00t_ros.contract.suggestions import did_you_mean
from gr00t_ros.interfaces.message_types.end_effector import EndEffectorCommand

LEAST_JOINTS = 2  # of an action with a tip of its own: a gripper has one joint


@dataclass(frozen=True, slots=True)
class Tip:
    """A link with a tool, whose path is drawn in the frame of `base`.

    The tool is a pose in the frame of the link: x y z, m, and a quaternion x y z w.
    """

    link: str
    base: str
    tool: tuple[float, ...] = NO_TOOL


def find_tips(contract: Contract, model: RobotModel) -> tuple[Tip, ...]:
    """Return the tips that `visualize.tips` names, or those that the contract suggests.

    Raises:
        ValueError: The robot has no such link.
    """
    named = tuple(Tip(link, model.root) for link in contract.visualize.tips)
    tips = named or tuple({tip.link: tip for tip in _suggested(contract, model)}.values())
    for tip in tips:
        for link in (tip.link, tip.base):
            if link not in model.links:
                raise ValueError(
                    f"the robot description has no link {link}{did_you_mean(link, model.links)}"
                )
    return tips


def _suggested(contract: Contract, model: RobotModel) -> Iterator[Tip]:
    for output in contract.action:
        yield from _tips_of(output, model)
    for workspace in contract.workspaces:  # last: of two tips with one link, a tool is known
        yield Tip(workspace.tip, workspace.base, workspace.tool)


def _tips_of(output: ActionOutput, model: RobotModel) -> Iterator[Tip]:
    interface = output.interface
    if isinstance(interface, EndEffectorCommand):
        yield Tip(interface.frames.tip, interface.frames.base, interface.frames.tool)
    elif output.commands_joint_positions and len(output.joints) >= LEAST_JOINTS:
        yield from (Tip(link, model.root) for link in model.ends_of(output.joints))
