# SPDX-License-Identifier: Apache-2.0
"""The settings of a player, and the age limit of observations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gr00t_policy_core.control.action_layout import ActionLayout
from gr00t_policy_core.control.body_limits import BodyLimits
from gr00t_policy_core.control.body_workspace import BodyWorkspace
from gr00t_policy_core.control.chunk import Chunk
from gr00t_policy_core.control.joint_limits import JointLimits
from gr00t_policy_core.control.ramp import RampLimits
from gr00t_policy_core.control.schedule_settings import ScheduleSettings
from gr00t_policy_core.control.workspace import Workspace

# The oldest observation that moves the robot by default, s.
MAX_AGE_S = 2.0


class OutOfRange(Enum):
    """The treatment of a chunk, or of a person's target, while a joint is outside its range."""

    REFUSE = "refuse"
    """It is refused: somebody has to bring the joint back by hand."""

    RETURN = "return"
    """It is followed: the joint goes back into its range, within its other limits."""


@dataclass(frozen=True, slots=True)
class ObservationAgeLimit:
    """How old the observation behind the motion may be.

    Without a limit, a robot that has lost its policy would play its chunk to the end.

    Args:
        limit_s: The limit, s; None for one that follows from the chunk: twice its duration and one
            replan interval, at most `MAX_AGE_S`. A chunk that is asked for only when the one
            before has ended (`sync`) is played whole: its duration and `MAX_AGE_S`.
        replan_interval_s: Time between two observations, s; 0 where the latency decides.
        sync: Whether the next chunk is asked for only when this one has been played.
    """

    limit_s: float | None = math.inf
    replan_interval_s: float = 0.0
    sync: bool = False

    def limit_of(self, chunk: Chunk) -> float:
        """The largest age of the observation behind a chunk while it is played, s."""
        if self.limit_s is not None:
            return self.limit_s
        chunk_s = (chunk.end_ns - chunk.t0_ns) * 1e-9
        if self.sync:
            return chunk_s + MAX_AGE_S
        return min(2.0 * chunk_s + self.replan_interval_s, MAX_AGE_S)


@dataclass(frozen=True, slots=True)
class PlayerSettings:
    """What a player needs to know about the robot.

    Args:
        period_s: Time between two ticks, s.
        schedule: How chunks are blended and interpolated.
        limits: Limits of joints, by their index in the layout's vector.
        bodies: Limits of poses and twists, by their action key.
        workspaces: What the tips of arms never leave.
        body_workspaces: What commanded poses never leave.
        max_jump: A chunk whose path starts further away than this, in any limited joint or pose,
            is refused: rad and m.
        out_of_range: What becomes of a chunk or a person's target while a joint is outside its
            range.
        max_joint_ages_s: Largest age of a measured position by index, s. Nothing moves before each
            of these was measured; joints that are not named need not be measured.
        max_following_errors: Largest distance between command and measured position by index, rad
            (or m). A larger one stops the motion.
        observation_age: How old the observation behind the motion may be.
        steering_timeout_s: The robot that a person steers comes to rest where no target of theirs
            came for this long, s.
        silent_at_rest: Whether the caller publishes nothing at rest, so that the first command
            after it may be anywhere.
    """

    period_s: float
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    limits: Mapping[int, JointLimits] = field(default_factory=dict)
    bodies: Mapping[str, BodyLimits] = field(default_factory=dict)
    workspaces: tuple[Workspace, ...] = ()
    body_workspaces: tuple[BodyWorkspace, ...] = ()
    max_jump: float = math.inf
    out_of_range: OutOfRange = OutOfRange.REFUSE
    max_joint_ages_s: Mapping[int, float] = field(default_factory=dict)
    max_following_errors: Mapping[int, float] = field(default_factory=dict)
    observation_age: ObservationAgeLimit = field(default_factory=ObservationAgeLimit)
    steering_timeout_s: float = 0.3
    silent_at_rest: bool = False

    def ramp_limits(self, layout: ActionLayout) -> RampLimits:
        """How much acceleration and jerk ramps and blends may add within these limits."""
        return RampLimits.from_limits(layout, self.limits, self.bodies)
