# SPDX-License-Identifier: Apache-2.0
"""The robot whose streams are measured: two cameras of 640x480 rgb8 and seven joints. No ROS."""

from __future__ import annotations

from typing import Any

from gr00t_policy_core import ModalityConfig

CAMERAS = ("front", "wrist")
WIDTH, HEIGHT, RATE_HZ = 640, 480, 30.0
JOINTS = tuple(f"joint_{index}" for index in range(7))
JOINTS_TOPIC = "bench/joint_states"
INSTRUCTION = "pick up the apple"

CONFIGS = {
    "video": ModalityConfig([0], list(CAMERAS)),
    "state": ModalityConfig([0], ["arm"]),
    "language": ModalityConfig([0], ["annotation.human.task_description"]),
}


def camera_topic(key: str) -> str:
    return f"bench/{key}/image_raw"


def parameters() -> dict[str, Any]:
    """The node parameters of a robot like that."""
    return {
        "action_rate_hz": RATE_HZ,
        "max_age_s": 1.0,
        "max_skew_s": 0.2,
        **{f"video.{key}.topic": camera_topic(key) for key in CAMERAS},
        "state.arm.type": "joint_state",
        "state.arm.topic": JOINTS_TOPIC,
        "state.arm.joints": list(JOINTS),
        "action.arm.topic": "bench/commands",
        "action.arm.type": "joint_trajectory",
        "action.arm.joints": list(JOINTS),
    }
