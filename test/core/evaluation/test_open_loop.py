# SPDX-License-Identifier: Apache-2.0
"""Predicted beside recorded actions: which observations are asked, and the numbers of it."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_rig import EPISODES, HORIZON, LENGTH, STRIDE, KnowingPolicy, evaluated
from numpy.testing import assert_allclose, assert_array_equal

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.evaluation.evaluation import Latency
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policy import Info, Options


def add(key: str, offset: np.ndarray | float):
    return lambda observation, action: {**action, key: action[key] + offset}


def test_a_policy_that_knows_the_dataset_has_no_error() -> None:
    result = evaluated(KnowingPolicy())
    assert result.accuracy.mse == 0.0
    assert result.accuracy.mae == 0.0
    assert result.findings == ()
    assert [episode.steps for episode in result.episodes] == [LENGTH, LENGTH]


def test_each_episode_counts_the_same_and_each_value_of_all_keys_counts_the_same() -> None:
    result = evaluated(KnowingPolicy(add("gripper", 0.5)))
    # One of five values is off by 0.5.
    assert_allclose(result.accuracy.mse, 0.25 / 5, rtol=1e-5)
    assert_allclose(result.accuracy.mae, 0.5 / 5, rtol=1e-5)
    assert_allclose(list(result.accuracy.mse_by_episode.values()), [0.05, 0.05], rtol=1e-5)
    arm, gripper = result.accuracy.keys
    assert arm.mse == 0.0
    assert_allclose(gripper.mse, 0.25, rtol=1e-5)


def test_the_numbers_are_those_of_isaac_gr00t() -> None:
    """Against its definition written out: stitched chunks, cut to the steps, then means."""
    rng = np.random.default_rng(3)

    def disturb(observation, action):
        return {
            key: v + rng.normal(0, 0.1, v.shape).astype(np.float32) for key, v in action.items()
        }

    result = evaluated(KnowingPolicy(disturb), steps=50)
    stitched_mse, stitched_mae = [], []
    for episode in result.episodes:
        predicted = np.concatenate(
            [
                np.concatenate([episode.chunks[key][chunk, step] for key in ("arm", "gripper")])
                for chunk in range(7)
                for step in range(STRIDE)
            ]
        ).reshape(-1, 5)[:50]
        recorded = np.concatenate([episode.recorded[k] for k in ("arm", "gripper")], axis=1)[:50]
        stitched_mse.append(np.mean((recorded - predicted) ** 2))
        stitched_mae.append(np.mean(np.abs(recorded - predicted)))
    assert_allclose(result.accuracy.mse, np.mean(stitched_mse), rtol=1e-5)
    assert_allclose(result.accuracy.mae, np.mean(stitched_mae), rtol=1e-5)


def test_the_worst_step_is_named() -> None:
    def once(observation, action):
        if observation["state"]["place"][0, -1].tolist() == [4, 16]:
            action["arm"][0, 3, 2] -= 7.0
        return action

    worst = evaluated(KnowingPolicy(once)).accuracy.keys[0].joints[2].worst
    assert (worst.episode_index, worst.step) == (4, 19)
    assert worst.error == pytest.approx(-7.0)


def test_errors_are_told_by_step_of_the_chunk_over_the_whole_chunk() -> None:
    ramp = np.arange(HORIZON, dtype=np.float32)[None, :, None]
    by_step = evaluated(KnowingPolicy(add("arm", ramp))).accuracy.keys[0]
    assert_allclose(by_step.mae_by_step, np.arange(HORIZON), atol=1e-5)
    assert_allclose(by_step.mse_by_step, np.arange(HORIZON) ** 2, atol=1e-3)


def test_the_policy_sees_what_was_recorded_and_before_the_start_the_first_frame() -> None:
    policy = KnowingPolicy()
    evaluated(policy, steps=9)
    first, second = policy.observations[:2]
    assert first["video"]["front"].shape == (1, 2, 4, 4, 3)
    assert [int(frame.max()) for frame in first["video"]["front"][0]] == [0, 0]
    assert [int(frame.max()) for frame in second["video"]["side"][0]] == [12, 16]
    assert second["language"] == {"task": [["task 0.8"]]}


def test_only_the_keys_that_are_asked_for_are_compared() -> None:
    result = evaluated(KnowingPolicy(add("arm", 1.0)), keys=["gripper"])
    assert result.accuracy.mse == 0.0
    assert list(result.names) == ["gripper"]


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({"execution_horizon": HORIZON + 1}, "execution_horizon must be 1 to 16"),
        ({"execution_horizon": 0}, "execution_horizon must be 1 to 16"),
        ({"keys": ["legs"]}, "no action key .'legs'., it has .'arm', 'gripper'."),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(setting: dict, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        evaluated(KnowingPolicy(), **setting)


def test_a_policy_of_another_robot_is_refused_by_key() -> None:
    def cut(observation, action):
        return {**action, "arm": action["arm"][..., :2]}

    with pytest.raises(SpecError, match=r"action.arm has 2 values, the dataset records 4"):
        evaluated(KnowingPolicy(cut))


def test_action_steps_with_gaps_are_refused() -> None:
    class Sparse(KnowingPolicy):
        def get_modality_config(self) -> dict[str, ModalityConfig]:
            return {**super().get_modality_config(), "action": ModalityConfig([0, 2], ["arm"])}

    with pytest.raises(SpecError, match=r"the policy's are \[0, 2\]"):
        evaluated(Sparse())


def test_a_policy_that_plays_recordings_is_set_to_each_step() -> None:
    resets = []

    class Replay(KnowingPolicy):
        def reset(self, options: Options | None = None) -> Info:
            resets.append(dict(options or {}))
            return {"step_index": 0}

    result = evaluated(Replay(), steps=20)
    assert not result.tried_swaps
    of_first = [options for options in resets if options["episode_index"] == 0]
    assert [options.get("step_index") for options in of_first] == [None, 0, 8, 16]


def test_the_first_call_is_not_in_the_statistics_of_the_latency() -> None:
    latency = Latency.of(np.array([9.0, *np.linspace(0.1, 0.2, 101)]))
    assert (latency.calls, latency.first_s) == (102, 9.0)
    assert latency.p50_s == pytest.approx(0.15)
    assert latency.p99_s == pytest.approx(0.199)
    assert latency.max_s == pytest.approx(0.2)


def test_a_short_episode_is_compared_to_its_end() -> None:
    result = evaluated(KnowingPolicy(), steps=13)
    assert [episode.steps for episode in result.episodes] == [13] * len(EPISODES)
    assert_array_equal(result.episodes[0].starts, [0, 8])
