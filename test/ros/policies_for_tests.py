# SPDX-License-Identifier: Apache-2.0
"""A small policy whose answers tell what it saw, and the parameters of a robot that fits it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from gr00t_policy_core import ModalityConfig, ModalityPolicy

HORIZON = 16
ACTION_RATE_HZ = 20.0


class EchoPolicy(ModalityPolicy):
    """Answers a ramp that starts at the arm's state and climbs by 0.1 rad a second.

    Args:
        video_delta_indices: History of the camera, in steps.
        state_delta_indices: History of the states, in steps.
    """

    def __init__(
        self,
        *,
        video_delta_indices: tuple[int, ...] = (0,),
        state_delta_indices: tuple[int, ...] = (0,),
    ) -> None:
        super().__init__()
        self._configs = {
            "video": ModalityConfig(list(video_delta_indices), ["front"]),
            "state": ModalityConfig(list(state_delta_indices), ["arm", "gripper"]),
            "action": ModalityConfig(list(range(HORIZON)), ["arm", "gripper"]),
            "language": ModalityConfig([0], ["task"]),
        }
        self.observations: list[dict[str, Any]] = []
        self.options: list[dict[str, Any] | None] = []
        self.capabilities: tuple[str, ...] = ()
        self.resets = 0
        self.go = threading.Event()
        self.go.set()

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return self._configs

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": {"arm": 2, "gripper": 1}, "action": {"arm": 2, "gripper": 1}}

    def get_capabilities(self) -> tuple[str, ...]:
        return self.capabilities

    def reset(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        self.resets += 1
        return {"resets": self.resets}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.observations.append(observation)
        self.options.append(options)
        self.go.wait(timeout=30.0)
        climb = 0.1 / ACTION_RATE_HZ * np.arange(HORIZON, dtype=np.float32)[None, :, None]
        state = observation["state"]
        action = {key: state[key][:, -1:] + climb for key in ("arm", "gripper")}
        return action, {"timing": {"total": 0.001}}


class TwistPolicy(EchoPolicy):
    """Commands the arm with a velocity of 0.25 m/s along x, and the gripper with zeros."""

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": {"arm": 2, "gripper": 1}, "action": {"arm": 6, "gripper": 1}}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        twist = np.zeros((1, HORIZON, 6), np.float32)
        twist[..., 0] = 0.25
        return {"arm": twist, "gripper": np.zeros((1, HORIZON, 1), np.float32)}, {}


def parameters(**changes: Any) -> dict[str, Any]:
    """Node parameters of a two-joint robot that fits `EchoPolicy`; None takes one out."""
    values: dict[str, Any] = {
        "action_rate_hz": ACTION_RATE_HZ,
        "control_rate_hz": 100.0,
        "replan_interval_s": 0.2,
        "max_jump": 0.0,
        "instruction": "pick up the apple",
        "policy.timeout_s": 2.0,
        "video.front.topic": "front/image_raw",
        "state.arm.type": "joint_state",
        "state.arm.topic": "joint_states",
        "state.arm.joints": ["shoulder", "elbow"],
        "state.gripper.type": "joint_state",
        "state.gripper.topic": "joint_states",
        "state.gripper.joints": ["finger"],
        "action.arm.type": "joint_trajectory",
        "action.arm.topic": "commands",
        "action.arm.joints": ["shoulder", "elbow"],
        "action.gripper.type": "joint_trajectory",
        "action.gripper.topic": "commands",
        "action.gripper.joints": ["finger"],
    }
    values.update({name.replace("__", "."): value for name, value in changes.items()})
    return {name: value for name, value in values.items() if value is not None}
