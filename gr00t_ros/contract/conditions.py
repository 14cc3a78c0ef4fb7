# SPDX-License-Identifier: Apache-2.0
"""Conditions under which parameters have an effect: backend, commands, other parameters. Pure."""

from __future__ import annotations

from gr00t_policy_core.control.blend import BlendMode
from gr00t_ros.contract.parameter import ActionCondition, AnyOf, Condition, Settings
from gr00t_ros.interfaces.interface import CommandInterface, LimitedBy

FADING_BLENDS = tuple(mode.value for mode in BlendMode if mode.fades_offset)


def _is_on_server(settings: Settings) -> bool:
    return bool(settings["policy.backend"] == "server")


def _host_is_asked(settings: Settings) -> bool:
    host, hosts = settings["policy.host"], settings["policy.hosts"]
    is_listed = host in hosts or host in [one.rpartition(":")[0] for one in hosts]
    return _is_on_server(settings) and (is_listed or not hosts)


def _sends_jpeg(settings: Settings) -> bool:
    return _is_on_server(settings) and settings["policy.image_encoding"] == "jpeg"


def _has_joints(command: CommandInterface, _: Settings) -> bool:
    return command.limited_by is LimitedBy.JOINT_LIMITS


def _has_joint_positions(command: CommandInterface, settings: Settings) -> bool:
    return _has_joints(command, settings) and not command.holds_zero


def _is_body(command: CommandInterface, _: Settings) -> bool:
    return command.limited_by is LimitedBy.BODY_LIMITS


def _has_positions(command: CommandInterface, _: Settings) -> bool:
    return not command.holds_zero


def _has_tip(settings: Settings) -> bool:
    return any(name.endswith(".tip") and value for name, value in settings.items())


def _sends_trajectories(command: CommandInterface, _: Settings) -> bool:
    return command.sends_trajectories


def _is_measured(command: CommandInterface, settings: Settings) -> bool:
    return not command.holds_zero and not settings["unmeasured"]


def _has_teleop_topic(_: CommandInterface, settings: Settings) -> bool:
    return bool(settings["teleop_topic"])


SERVER = Condition("policy.backend: server", _is_on_server)
LOCAL = Condition("policy.backend: local", lambda s: s["policy.backend"] == "local")
ONE_HOST = Condition("policy.backend: server, and no policy.hosts without it", _host_is_asked)
JPEG = Condition("policy.image_encoding: jpeg", _sends_jpeg)
ASYNC = Condition("inference: async", lambda s: s["inference"] == "async")
BLENDED = Condition(f"blend: {' or '.join(FADING_BLENDS)}", lambda s: s["blend"] in FADING_BLENDS)
FROM_STATE = Condition("record.action_from: state", lambda s: s["record.action_from"] == "state")
SWITCHED = Condition("activate_controllers", lambda s: bool(s["activate_controllers"]))
GATED = Condition("enable_topic", lambda s: bool(s["enable_topic"]))
JOINTS = ActionCondition("joints", _has_joints)
JOINT_POSITIONS = ActionCondition("joints that are commanded in position", _has_joint_positions)
BODIES = ActionCondition("a pose or a twist", _is_body)
POSITIONS = ActionCondition("positions of joints, or a pose", _has_positions)
MEASURED = ActionCondition("positions or a pose that a state measures", _is_measured)
ANY_JOINTS = ActionCondition("an action that has joints", _has_joints)
ANY_TRAJECTORY = ActionCondition("an action that sends whole trajectories", _sends_trajectories)
ANY_MEASURED = ActionCondition("an action of positions that a state measures", _is_measured)
DESCRIBED = AnyOf(
    f"{ANY_JOINTS.text}, or a tip", (ANY_JOINTS, Condition("an end effector's tip", _has_tip))
)
ANY_TELEOP = ActionCondition("an action that has a teleop_topic", _has_teleop_topic)
