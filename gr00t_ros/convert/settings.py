# SPDX-License-Identifier: Apache-2.0
"""How bags are converted. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from gr00t_policy_core.datasets.video import VideoSettings

# Where a filter is switched on without a number.
IDLE_MOTION = 0.005  # rad or m; encoders and drift stay below, a deliberate motion does not
JUMP_SPEED = 10.0  # rad/s or m/s; no arm moves a joint that fast
BLUR_SHARE = 0.3  # of the camera's median sharpness in the episode
MIN_LENGTH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is left out although it could be converted; None and False switch a filter off.

    Args:
        idle_motion: rad or m; the steps of an episode before a measured or commanded position has
            moved by this much, and after the last such motion.
        jump_speed: rad/s or m/s; where a measured position changes faster, the episode is split.
        blur_share: Steps with an image less sharp than this share of the camera's median.
        failed: Episodes whose outcome is failure.
        min_length_s: s, shorter episodes; of a correction, the part that the person drove counts.
        corrections_only: What the policy drove: each intervention of a person is an episode.
        lead_in_s: s, that such an episode begins before the person took over.
    """

    idle_motion: float | None = None
    jump_speed: float | None = None
    blur_share: float | None = None
    failed: bool = False
    min_length_s: float = MIN_LENGTH_S
    corrections_only: bool = False
    lead_in_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """The settings of one conversion, the same for all bags.

    Args:
        lead_steps: Steps by which a measured state is ahead of the step whose action it is; None
            where the action is what was commanded.
        task: The task of bags that do not name theirs; empty for the contract's.
        robot_type: The robot's name in the dataset.
        language_key: The name of the prompt in the dataset, without ``annotation.``.
        image_size: Height and width of all videos, px; None for the size of the observations.
        video: How videos are encoded.
        filters: What is left out although it could be converted.
        clock_topic: Whether the time is that of the bag's /clock, instead of the reception.
    """

    lead_steps: int | None = None
    task: str = ""
    robot_type: str = ""
    language_key: str = "human.task_description"
    image_size: tuple[int, int] | None = None
    video: VideoSettings = field(default_factory=VideoSettings)
    filters: Filters = field(default_factory=Filters)
    clock_topic: bool = False
