# SPDX-License-Identifier: Apache-2.0
"""A dataset in memory, and a policy that knows it by heart and makes one mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gr00t_policy_core.evaluation.evaluation import EvaluationSettings, PolicyEvaluation, evaluate
from gr00t_policy_core.evaluation.open_loop import OpenLoopSettings
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options

LENGTH, HORIZON, STRIDE = 120, 16, 8
EPISODES = {0: LENGTH, 4: LENGTH}
ARM = ("pan", "lift", "elbow", "wrist")
JOINTS = {"arm": ARM, "gripper": ("gripper",)}
CAMERAS = ("front", "side")


def joint_path(episode: int, joint: int) -> np.ndarray:
    """Smooth, and like that of no other joint, float64 (LENGTH + HORIZON,)."""
    rng = np.random.default_rng(100 * episode + joint)
    steps = np.arange(LENGTH + HORIZON)
    waves = [np.sin(steps / rng.uniform(6, 16) + rng.uniform(0, 6)) for _ in range(3)]
    return 0.4 * np.sum(waves, axis=0) + 0.5 * joint


class RecordedEpisodes:
    """What `LeRobotDataset` gives: states half a step behind the actions, two cameras whose
    pixels hold the step, and the instruction."""

    def actions(self, episode: int) -> dict[str, np.ndarray]:
        """Beyond the end of the episode too, float32 (LENGTH + HORIZON, D)."""
        arm = [joint_path(episode, joint) for joint in range(len(ARM))]
        gripper = joint_path(episode, 7)
        return {
            "arm": np.stack(arm, axis=1).astype(np.float32),
            "gripper": gripper[:, None].astype(np.float32),
        }

    def read(self, episode_index: int, modality: str, keys: Iterable[str]) -> dict[str, np.ndarray]:
        if modality == "action":
            return {key: self.actions(episode_index)[key][:LENGTH] for key in keys}
        values = {key: rows[:LENGTH] for key, rows in self.actions(episode_index).items()}
        states = {k: (rows + np.roll(rows, 1, axis=0)) / 2 for k, rows in values.items()}
        states["place"] = np.array([[episode_index, s] for s in range(LENGTH)], np.float32)
        return {key: states[key] for key in keys}

    def read_video(self, episode_index: int, key: str) -> Iterator[np.ndarray]:
        for step in range(LENGTH):
            yield np.full((4, 4, 3), step if key == "front" else 2 * step, np.uint8)

    def read_instructions(self, episode_index: int, key: str) -> list[str]:
        return [f"{key} {episode_index}.{step}" for step in range(LENGTH)]


Mistake = Callable[[Observation, Action], Action]


class KnowingPolicy(ModalityPolicy):
    """Answers the recorded actions, changed by `mistake`.

    Args:
        mistake: Gets the observation and the right action (1, HORIZON, D) by key.
        noise: Standard deviation of noise added to every value.
    """

    def __init__(self, mistake: Mistake | None = None, noise: float = 0.0) -> None:
        super().__init__()
        self.mistake = mistake or (lambda observation, action: action)
        self.observations: list[Observation] = []
        self._noise = noise
        self._rng = np.random.default_rng(0)
        self._data = RecordedEpisodes()

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {
            "video": ModalityConfig([-2, 0], list(CAMERAS)),
            "state": ModalityConfig([0], ["arm", "gripper", "place"]),
            "language": ModalityConfig([0], ["task"]),
            "action": ModalityConfig(list(range(HORIZON)), list(JOINTS)),
        }

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        self.observations.append(observation)
        episode, step = observation["state"]["place"][0, -1].astype(int)
        right = {
            key: rows[step : step + HORIZON][None].copy()
            for key, rows in self._data.actions(episode).items()
        }
        action = self.mistake(observation, right)
        return {key: self._noisy(rows) for key, rows in action.items()}, {}

    def _noisy(self, rows: np.ndarray) -> np.ndarray:
        noise = self._noise * self._rng.standard_normal(rows.shape)
        return (rows + noise).astype(np.float32)


def names_of(modality: str, key: str) -> tuple[str, ...]:
    return JOINTS.get(key, ("episode", "step"))


def evaluated(policy: Any, **open_loop: Any) -> PolicyEvaluation:
    """The evaluation of a policy on both episodes."""
    settings = {"execution_horizon": STRIDE, **open_loop}
    return evaluate(
        "policy",
        policy,
        RecordedEpisodes(),
        names_of,
        EvaluationSettings(episodes=EPISODES, open_loop=OpenLoopSettings(**settings)),
    )
