# SPDX-License-Identifier: Apache-2.0
"""A policy with the keys of the golden messages, quick and without a model."""

from typing import Any

import numpy as np

from gr00t_policy_core import ActionConfig, ModalityConfig, ModalityPolicy

HORIZON = 16
DIMENSIONS = {"single_arm": 5, "gripper": 1}
PROMPT_KEY = "annotation.human.task_description"


class ToyPolicy(ModalityPolicy):
    """Answers each action key with its state, repeated over the horizon."""

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        keys = list(DIMENSIONS)
        absolute = ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")
        return {
            "video": ModalityConfig([0], ["front", "wrist"]),
            "state": ModalityConfig([0], keys),
            "action": ModalityConfig(list(range(HORIZON)), keys, action_configs=[absolute] * 2),
            "language": ModalityConfig([0], [PROMPT_KEY]),
        }

    def get_dimensions(self) -> dict[str, dict[str, int]]:
        return {"state": dict(DIMENSIONS), "action": dict(DIMENSIONS)}

    def reset(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        return {"options": options}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        state = observation["state"]
        action = {key: np.repeat(state[key], HORIZON, axis=1) for key in DIMENSIONS}
        return action, {"options": options, "prompt": observation["language"][PROMPT_KEY][0][0]}


def toy_observation(batch: int = 1, height: int = 48, width: int = 64) -> dict[str, Any]:
    """An observation that `ToyPolicy` takes, with another value in every state."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 255, (2, batch, 1, height, width, 3), dtype=np.uint8)
    return {
        "video": {"front": frames[0], "wrist": frames[1]},
        "state": {
            key: generator.normal(size=(batch, 1, size)).astype(np.float32)
            for key, size in DIMENSIONS.items()
        },
        "language": {PROMPT_KEY: [["pick up the apple"]] * batch},
    }


def expected_action(observation: dict[str, Any]) -> dict[str, Any]:
    """What `ToyPolicy` answers."""
    return {key: np.repeat(observation["state"][key], HORIZON, axis=1) for key in DIMENSIONS}


def untimed(info: dict[str, Any]) -> dict[str, Any]:
    """An info without what the server measured, which it must have."""
    assert {"queue_s", "inference_s", "total_s", "total"} <= info["timing"].keys()
    return {key: value for key, value in info.items() if key != "timing"}
