# SPDX-License-Identifier: Apache-2.0
"""Replaying datasets of both layouts."""

import numpy as np
import pytest
from lerobot_writer import (
    MODALITY,
    doubles,
    fixed_size_lists,
    lists,
    write_dataset,
)
from replays import LENGTHS, both_keys, both_layouts, observation, recorded

from gr00t_policy_core import ActionConfig, DatasetError, ModalityConfig, ReplayPolicy, SpecError
from gr00t_policy_core.testing import check_policy


def test_a_replay_conforms_to_the_policy_interface(dataset):
    check_policy(ReplayPolicy(dataset), observation)


def test_the_configs_come_from_modality_json_in_file_order(dataset):
    assert ReplayPolicy(dataset, action_horizon=4).get_modality_config() == {
        "video": ModalityConfig([0], ["front", "wrist"]),
        "state": ModalityConfig([0], ["single_arm", "gripper"]),
        "language": ModalityConfig([0], ["annotation.human.task_description"]),
        "action": ModalityConfig(
            [0, 1, 2, 3],
            ["single_arm", "gripper"],
            action_configs=[ActionConfig("ABSOLUTE", "NON_EEF", "DEFAULT")] * 2,
        ),
    }


def test_the_dimensions_come_from_modality_json(dataset):
    sizes = {"single_arm": 6, "gripper": 1}
    assert ReplayPolicy(dataset).get_dimensions() == {"state": sizes, "action": sizes}


def test_chunks_follow_each_other_by_the_execution_horizon(dataset):
    policy = ReplayPolicy(dataset, None, 8)
    for start in (0, 8, 16):
        action, info = policy.get_action(observation())
        np.testing.assert_array_equal(both_keys(action)[0], recorded(0, range(start, start + 16)))
        assert info == {
            "episode_index": 0,
            "step_index": start,
            "current_step": start,
            "episode_length": 40,
        }


def test_the_execution_horizon_is_the_whole_chunk_by_default(dataset):
    policy = ReplayPolicy(dataset)
    policy.get_action(observation())
    assert policy.get_action(observation())[1]["step_index"] == 16


def test_past_the_end_the_last_action_is_repeated(dataset):
    policy = ReplayPolicy(dataset)
    policy.reset({"episode_index": 2})
    action, _ = policy.get_action(observation())
    np.testing.assert_array_equal(both_keys(action)[0], recorded(2, [*range(7), *[6] * 9]))
    action, info = policy.get_action(observation())
    np.testing.assert_array_equal(both_keys(action)[0], recorded(2, [6] * 16))
    assert info == {"episode_index": 2, "step_index": 16, "current_step": 16, "episode_length": 7}


def test_every_row_of_the_batch_gets_the_same_chunk(dataset):
    action, _ = ReplayPolicy(dataset).get_action(observation(batch_size=3))
    assert action["single_arm"].shape == (3, 16, 6)
    for row in both_keys(action):
        np.testing.assert_array_equal(row, recorded(0, range(16)))


def test_reset_goes_to_a_step_of_an_episode(dataset):
    policy = ReplayPolicy(dataset)
    answer = policy.reset(options={"episode_index": 1, "step_index": 5})
    assert answer == {"episode_index": 1, "step_index": 5, "current_step": 5, "episode_length": 25}
    assert policy.episode_length == 25
    action, _ = policy.get_action(observation())
    np.testing.assert_array_equal(both_keys(action)[0], recorded(1, range(5, 21)))


def test_reset_without_options_starts_the_same_episode_again(dataset):
    policy = ReplayPolicy(dataset, episode_index=1)
    policy.get_action(observation())
    assert policy.reset() == {
        "episode_index": 1,
        "step_index": 0,
        "current_step": 0,
        "episode_length": 25,
    }
    assert policy.reset({"step_index": np.int64(3)})["step_index"] == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"episode_index": 3}, "episode_index must be an integer from 0 to 2, got 3"),
        ({"episode_index": -1}, "episode_index must be an integer from 0 to 2, got -1"),
        ({"episode_index": "1"}, "episode_index must be an integer from 0 to 2, got '1'"),
        ({"episode_index": True}, "episode_index must be an integer from 0 to 2, got True"),
        ({"episode_index": 2, "step_index": 7}, "step_index must be an integer from 0 to 6, got 7"),
        ({"step_index": 40}, "step_index must be an integer from 0 to 39, got 40"),
        ({"step_index": 1.0}, "step_index must be an integer from 0 to 39, got 1.0"),
        ({"episode": 1}, "unknown options ['episode']"),
        ({1: 1, "episode": 1}, "unknown options [1, 'episode']"),
        ([5, 0], "options must be a dict, got [5, 0]"),
        (5, "options must be a dict, got 5"),
    ],
)
def test_a_refused_reset_names_the_range_and_changes_nothing(dataset, options, expected):
    policy = ReplayPolicy(dataset)
    policy.get_action(observation())
    with pytest.raises(SpecError) as caught:
        policy.reset(options)
    assert expected in str(caught.value)
    assert policy.get_action(observation())[1] == {
        "episode_index": 0,
        "step_index": 16,
        "current_step": 16,
        "episode_length": 40,
    }


def test_a_reset_to_a_damaged_episode_names_the_file_and_changes_nothing(v2_dataset):
    (v2_dataset / "data/chunk-000/episode_000001.parquet").unlink()
    policy = ReplayPolicy(v2_dataset)
    with pytest.raises(DatasetError, match=r"episode_000001\.parquet: no such file"):
        policy.reset({"episode_index": 1})
    assert policy.get_action(observation())[1]["episode_index"] == 0


@pytest.mark.parametrize("horizon", [0, -1, 17, 1.5, "8"])
def test_an_execution_horizon_outside_of_the_chunk_is_refused(dataset, horizon):
    with pytest.raises(SpecError, match="execution_horizon must be an integer from 1 to 16"):
        ReplayPolicy(dataset, None, horizon)


def test_a_call_written_for_isaac_gr00t_works(dataset):
    configs = {
        "video": ModalityConfig([0], ["front"]),
        "state": ModalityConfig([0], ["single_arm"]),
        "action": ModalityConfig(list(range(8)), ["gripper"]),
        "language": ModalityConfig([0], ["task"]),
    }
    policy = ReplayPolicy(
        dataset_path=str(dataset),
        modality_configs=configs,
        execution_horizon=8,
        video_backend="torchcodec",
        video_backend_kwargs={},
        strict=True,
    )
    assert policy.num_episodes == 3
    asked = observation(batch_size=2)
    asked["language"] = {"task": [["pick"], ["pick"]]}
    action, _ = policy.get_action(asked)
    assert list(action) == ["gripper"]
    assert action["gripper"].shape == (2, 8, 1)


def test_without_checks_and_observation_the_batch_size_is_an_option(dataset):
    policy = ReplayPolicy(dataset, strict=False)
    action, _ = policy.get_action(None, {"batch_size": 4})
    assert action["single_arm"].shape == (4, 16, 6)


def test_a_key_that_is_not_the_policys_does_not_set_the_batch_size(dataset):
    asked = observation(batch_size=2)
    asked["video"] = {"unused": np.zeros((5, 1)), **asked["video"]}
    action, _ = ReplayPolicy(dataset).get_action(asked)
    assert action["single_arm"].shape == (2, 16, 6)


def test_options_of_other_policies_are_accepted(dataset):
    _, info = ReplayPolicy(dataset).get_action(observation(), {"seed": 3})
    assert info["step_index"] == 0


def test_an_action_is_taken_at_its_own_delta_indices(dataset):
    configs = {"action": ModalityConfig([-1, 0, 4], ["gripper"])}
    policy = ReplayPolicy(dataset, configs, 1)
    policy.reset({"step_index": 10})
    action, _ = policy.get_action({})
    np.testing.assert_array_equal(action["gripper"][0], recorded(0, [9, 10, 14])[:, 6:])


def test_given_configs_must_fit_the_dataset_and_every_missing_key_is_named(dataset):
    configs = {
        "video": ModalityConfig([0], ["front", "ceiling"]),
        "state": ModalityConfig([0], ["left_arm"]),
        "action": ModalityConfig([0], ["single_arm", "torso"]),
        "language": ModalityConfig([0], ["annotation.human.mood"]),
    }
    with pytest.raises(SpecError) as caught:
        ReplayPolicy(dataset, configs, 1)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "video.ceiling",
        "state.left_arm",
        "language.annotation.human.mood",
        "action.torso",
    ]
    assert "['front', 'wrist']" in str(caught.value)


def test_configs_without_actions_are_refused(dataset):
    with pytest.raises(SpecError, match="no 'action'"):
        ReplayPolicy(dataset, {"state": ModalityConfig([0], ["gripper"])})


def test_of_several_annotations_the_first_is_the_prompt(tmp_path):
    modality = {**MODALITY, "annotation": {"human.action": {}, "human.validity": {}}}
    policy = ReplayPolicy(write_dataset(tmp_path / "d", [5], modality=modality))
    language = policy.get_modality_config()["language"]
    assert language.modality_keys == ["annotation.human.action"]


def test_a_dataset_without_videos_and_prompts_needs_neither(tmp_path):
    modality = {"state": MODALITY["state"], "action": MODALITY["action"]}
    policy = ReplayPolicy(write_dataset(tmp_path / "d", [5], modality=modality))
    assert sorted(policy.get_modality_config()) == ["action", "state"]
    policy.get_action({"state": observation()["state"]})


@both_layouts
@pytest.mark.parametrize("to_column", [lists, fixed_size_lists, doubles])
def test_every_column_type_gives_the_same_float32_values(tmp_path, version, to_column):
    policy = ReplayPolicy(write_dataset(tmp_path / "d", LENGTHS, version, to_column=to_column))
    policy.reset({"episode_index": 1})
    action, _ = policy.get_action(observation())
    assert action["single_arm"].dtype == np.float32
    np.testing.assert_array_equal(both_keys(action)[0], recorded(1, range(16)))


def test_a_key_may_be_a_column_of_plain_numbers_under_its_own_name(tmp_path):
    modality = {"action": {"step": {"start": 0, "end": 1, "original_key": "frame_index"}}}
    policy = ReplayPolicy(write_dataset(tmp_path / "d", [20], modality=modality))
    action, _ = policy.get_action({})
    np.testing.assert_array_equal(action["step"][0, :, 0], np.arange(16, dtype=np.float32))


def test_only_the_episode_that_is_played_is_read(v2_dataset):
    for index in (1, 2):
        (v2_dataset / f"data/chunk-000/episode_00000{index}.parquet").write_bytes(b"not parquet")
    assert ReplayPolicy(v2_dataset).num_episodes == 3


def test_changing_an_answer_does_not_change_the_next_one(dataset):
    policy = ReplayPolicy(dataset)
    action, _ = policy.get_action(observation())
    action["single_arm"][:] = 99
    policy.reset()
    action, _ = policy.get_action(observation())
    np.testing.assert_array_equal(both_keys(action)[0], recorded(0, range(16)))
