# SPDX-License-Identifier: Apache-2.0
"""The settings of the control node. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gr00t_policy_core.control.blend import BlendMode
from gr00t_policy_core.control.player_settings import OutOfRange
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_ros.contract.motion_parameters import ANY_DESCRIPTION
from gr00t_ros.contract.parameter import Settings
from gr00t_ros.contract.topic_names import TopicNames


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """How the control node plays chunks. None for a topic, priority, CPU or file that is not set.

    Args:
        schedule: How chunks are blended and interpolated.
        max_jump: A chunk that begins further than this from a joint or pose is refused, rad and m.
        out_of_range: What happens to a chunk while a joint is outside its range.
        max_observation_age_s: The motion stops when the observation behind it is older, s; None
            for a limit that follows from the chunk.
        require_subscribers: Whether nothing moves while a command topic has no subscriber.
        on_starvation: ``hold`` or ``stop_publishing``, after coming to rest.
        is_shadow: Whether nothing is commanded at first.
        intervene_topic: Its std_msgs/Bool says whether a person drives.
        teleop_timeout_s: The robot comes to rest when a person who drives is silent so long, s.
        enable_topic: Its std_msgs/Bool must be true, and repeated within `enable_timeout_s` (s).
        robot_description_topics: Topics of the URDF, in order of preference.
        require_urdf: Whether nothing moves without a URDF that has every commanded joint.
        trajectory_lead_s: How far ahead of the present whole trajectories are planned, s.
        activate_controllers: Controllers of ros2_control that are activated with the node.
        controller_manager: The name of their manager.
        realtime_priority: SCHED_FIFO priority of the loop.
        cpu_affinity: CPU to which the loop is pinned.
        record_path: File to which a run is recorded.
    """

    is_shadow: bool
    schedule: ScheduleSettings
    max_jump: float
    out_of_range: OutOfRange
    max_observation_age_s: float | None
    require_subscribers: bool
    on_starvation: str
    enable_topic: str | None
    enable_timeout_s: float
    intervene_topic: str | None
    teleop_timeout_s: float
    robot_description_topics: tuple[str, ...]
    require_urdf: bool
    trajectory_lead_s: float
    activate_controllers: tuple[str, ...]
    controller_manager: str
    realtime_priority: int | None
    cpu_affinity: int | None
    record_path: str | None

    @classmethod
    def of(cls, settings: Settings, topics: TopicNames) -> MotionSettings:
        """Make the settings from the values of all parameters, already checked one by one."""
        return cls(
            is_shadow=settings["mode"] == "shadow",
            schedule=ScheduleSettings(
                blend=BlendMode(settings["blend"]),
                blend_s=float(settings["blend_s"]),
                cubic=settings["interpolation"] == "cubic",
            ),
            max_jump=float(settings["max_jump"]) or math.inf,
            out_of_range=OutOfRange(settings["out_of_range"]),
            max_observation_age_s=float(settings["max_observation_age_s"]) or None,
            require_subscribers=settings["require_subscribers"],
            on_starvation=settings["on_starvation"],
            enable_topic=topics.one_name(settings["enable_topic"]) or None,
            enable_timeout_s=float(settings["enable_timeout_s"]),
            intervene_topic=topics.one_name(settings["intervene_topic"]) or None,
            teleop_timeout_s=float(settings["teleop_timeout_s"]),
            robot_description_topics=tuple(
                dict.fromkeys(map(topics.one_name, _description_topics(settings)))
            ),
            require_urdf=settings["require_urdf"],
            trajectory_lead_s=float(settings["trajectory_lead_s"]),
            activate_controllers=tuple(settings["activate_controllers"]),
            controller_manager=settings["controller_manager"],
            realtime_priority=settings["realtime_priority"] or None,
            cpu_affinity=settings["cpu_affinity"] if settings["cpu_affinity"] >= 0 else None,
            record_path=settings["record_path"] or None,
        )


def _description_topics(settings: Settings) -> Sequence[str]:
    """Return the topics: a robot state publisher has the robot's namespace, or none at all."""
    topic = settings["robot_description_topic"]
    if topic == ANY_DESCRIPTION:
        return "robot_description", "/robot_description"
    return (topic,) if topic else ()
