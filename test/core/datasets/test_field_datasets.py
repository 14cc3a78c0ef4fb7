# SPDX-License-Identifier: Apache-2.0
"""Datasets as they are in the field: any episode numbers, boundaries, columns and keys."""

import itertools
import json
import logging

import numpy as np
import pytest
from lerobot_writer import MODALITY, action_at, lists, pa, pq, write_dataset
from replays import both_keys, both_layouts, recorded

from gr00t_policy_core import (
    ActionConfig,
    DatasetError,
    ModalityConfig,
    PolicyClient,
    PolicyServer,
    ReplayPolicy,
    SpecError,
)
from gr00t_policy_core.testing import check_policy

INDICES = [10, 20, 340020]
LENGTHS = [6, 4, 5]


def first_chunk(policy):
    return both_keys(policy.get_action(None, {"batch_size": 1})[0])[0]


def replay(path, **options):
    return ReplayPolicy(path, strict=False, action_horizon=3, **options)


@both_layouts
def test_episodes_may_have_any_numbers(tmp_path, version):
    dataset = write_dataset(tmp_path / "d", LENGTHS, version, indices=INDICES)
    policy = replay(dataset)
    np.testing.assert_array_equal(first_chunk(policy), recorded(10, [0, 1, 2]))
    for index, length in zip(INDICES, LENGTHS, strict=True):
        assert policy.reset({"episode_index": index})["episode_length"] == length
        np.testing.assert_array_equal(first_chunk(policy), recorded(index, [0, 1, 2]))


def test_an_episode_between_those_that_are_there_is_refused_with_the_closest(tmp_path):
    policy = replay(write_dataset(tmp_path / "d", LENGTHS, indices=INDICES))
    with pytest.raises(SpecError, match=r"has no episode 15, the closest are \[10, 20\]"):
        policy.reset({"episode_index": 15})


def test_chunks_that_are_tasks_are_found_by_the_data_path(tmp_path):
    """The layout of BEHAVIOR-1K: ten thousand episode numbers for each task."""
    dataset = write_dataset(tmp_path / "d", LENGTHS, indices=INDICES)
    file = dataset / "meta/info.json"
    pattern = "data/task-{episode_chunk:04d}/episode_{episode_index:08d}.parquet"
    info = {**json.loads(file.read_text()), "data_path": pattern, "chunks_size": 10_000}
    file.write_text(json.dumps(info))
    for index in INDICES:
        new = dataset / pattern.format(episode_chunk=index // 10_000, episode_index=index)
        new.parent.mkdir(exist_ok=True)
        old = f"data/chunk-{index // 1000:03d}/episode_{index:06d}.parquet"
        (dataset / old).rename(new)
    assert (dataset / "data/task-0034/episode_00340020.parquet").exists()
    np.testing.assert_array_equal(
        first_chunk(replay(dataset, episode_index=340020)), recorded(340020, [0, 1, 2])
    )


def rewrite_v3(dataset, boundaries):
    """Deal the rows of the whole dataset out to files anew; `meta/episodes` stays as it was."""
    files = sorted((dataset / "data/chunk-000").glob("*.parquet"))
    rows = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files])
    for file in files:
        file.unlink()
    edges = [0, *boundaries, rows.num_rows]
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        part = rows.slice(start, end - start)
        pq.write_table(part, dataset / f"data/chunk-000/file-{number:03d}.parquet")


@pytest.mark.parametrize(
    "boundaries",
    [
        [6],  # episode 1 lies in the file after the one that is said
        [14],  # episode 2 lies in the file before
        [8],  # episode 1 lies in two files
        [],  # one file, where two are said
    ],
)
def test_an_episode_in_another_file_than_its_list_says_is_found(tmp_path, boundaries):
    dataset = write_dataset(tmp_path / "d", [6, 4, 5], "v3.0")
    rewrite_v3(dataset, boundaries)
    policy = replay(dataset)
    for index, length in enumerate([6, 4, 5]):
        assert policy.reset({"episode_index": index})["episode_length"] == length
        np.testing.assert_array_equal(first_chunk(policy), recorded(index, [0, 1, 2]))


def test_an_episode_that_is_nowhere_is_refused_with_the_file_that_was_said(tmp_path):
    dataset = write_dataset(tmp_path / "d", [6, 4, 5], "v3.0")
    (dataset / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"file-001\.parquet: no such file"):
        replay(dataset, episode_index=2)


@pytest.mark.parametrize("kind", [pa.bool_(), pa.list_(pa.bool_())])
def test_a_column_of_booleans_is_zeros_and_ones(tmp_path, kind):
    def column(values):
        closed = [step % 2 == 0 for step in range(len(values))]
        return pa.array(closed if kind == pa.bool_() else [[c] for c in closed], kind)

    modality = {"action": {"gripper": {"start": 0, "end": 1}}}
    dataset = write_dataset(tmp_path / "d", [5], modality=modality, to_column=column)
    action, _ = replay(dataset).get_action(None, {"batch_size": 1})
    np.testing.assert_array_equal(action["gripper"][0, :, 0], np.float32([1, 0, 1]))


def test_values_that_no_key_reads_may_be_missing(tmp_path):
    def column(values):
        return pa.array([[*row[:6], None] for row in values.tolist()], pa.list_(pa.float32()))

    modality = {"action": {"single_arm": {"start": 0, "end": 6}}}
    dataset = write_dataset(tmp_path / "d", [5], modality=modality, to_column=column)
    action, _ = replay(dataset).get_action(None, {"batch_size": 1})
    np.testing.assert_array_equal(action["single_arm"][0, 0], action_at(0, 0)[:6])


def test_a_value_that_is_missing_is_named_with_its_key_and_step(tmp_path):
    def column(values):
        return lists(np.where(values == values[3, 6], np.nan, values))

    dataset = write_dataset(tmp_path / "d", [5], to_column=column)
    with pytest.raises(DatasetError, match=r"action\.gripper of episode 0 .* 1 of 5 steps.*step 3"):
        replay(dataset)


# As LeRobot writes it for an SO-101.
JOINTS = ["shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos"]
JOINTS += ["wrist_roll.pos", "wrist_yaw.pos", "gripper.pos"]
FEATURES = {
    "action": {"dtype": "float32", "shape": [7], "names": JOINTS},
    "observation.state": {"dtype": "float32", "shape": [7], "names": JOINTS},
    "observation.images.front": {"dtype": "video", "shape": [480, 640, 3], "names": []},
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}


@both_layouts
def test_a_plain_lerobot_dataset_has_the_keys_of_its_features(tmp_path, version, caplog):
    caplog.set_level(logging.INFO)
    dataset = write_dataset(tmp_path / "d", [6, 4], version, modality={}, features=FEATURES)
    policy = ReplayPolicy(dataset, action_horizon=3)
    configs = policy.get_modality_config()
    assert {name: config.modality_keys for name, config in configs.items()} == {
        "video": ["front"],
        "state": ["state"],
        "action": ["action"],
        "language": ["task"],
    }
    assert policy.get_dimensions() == {"state": {"state": 7}, "action": {"action": 7}}
    assert "action.action = action ['shoulder_pan.pos', 'shoulder_lift.pos'" in caplog.text

    def observation(batch_size=1):
        return {
            "video": {"front": np.zeros((batch_size, 1, 4, 6, 3), np.uint8)},
            "state": {"state": np.zeros((batch_size, 1, 7), np.float32)},
            "language": {"task": [["pick"]] * batch_size},
        }

    check_policy(policy, observation)
    policy.reset({"episode_index": 1})
    action, _ = policy.get_action(observation())
    np.testing.assert_array_equal(action["action"][0], recorded(1, [0, 1, 2]))


@pytest.mark.parametrize("names", [{"motors": JOINTS}, None, dict.fromkeys(JOINTS, 0)])
def test_features_name_their_values_in_several_ways(tmp_path, names):
    features = {**FEATURES, "action": {"dtype": "float32", "shape": [7], "names": names}}
    dataset = write_dataset(tmp_path / "d", [6], modality={}, features=features)
    assert rep_of(ReplayPolicy(dataset), "action") == "ABSOLUTE"


@pytest.mark.parametrize("features", [None, {"action": {"dtype": "string", "shape": [1]}}])
def test_without_modality_json_and_action_the_error_says_what_to_write(tmp_path, features):
    dataset = write_dataset(tmp_path / "d", [6], modality={}, features=features)
    with pytest.raises(DatasetError, match=r'modality\.json: no such file.*write \{"state"'):
        ReplayPolicy(dataset)


def relative(**entry):
    return {**MODALITY, "action": {"single_arm": {"start": 0, "end": 7, **entry}}}


def rep_of(policy, key):
    config = policy.get_modality_config()["action"]
    return config.action_configs[config.modality_keys.index(key)].rep.name


@pytest.mark.parametrize(
    ("entry", "expected"),
    [({}, "ABSOLUTE"), ({"absolute": True}, "ABSOLUTE"), ({"absolute": False}, "DELTA")],
)
def test_what_was_recorded_is_told_as_what_it_is(tmp_path, entry, expected):
    dataset = write_dataset(tmp_path / "d", [6], modality=relative(**entry))
    with (
        PolicyServer(ReplayPolicy(dataset), host="127.0.0.1", port=0) as server,
        PolicyClient("127.0.0.1", server.port, timeout_ms=10_000) as client,
    ):
        assert rep_of(client, "single_arm") == expected


def test_a_plain_dataset_of_steps_tells_them_by_the_names_of_its_values(tmp_path):
    names = {"delta_x": 0, "delta_y": 1, "delta_z": 2, "gripper": 3}
    features = {"action": {"dtype": "float32", "shape": [4], "names": names}}
    dataset = write_dataset(tmp_path / "d", [6], modality={}, features=features)
    assert rep_of(ReplayPolicy(dataset), "action") == "DELTA"


@pytest.mark.parametrize("value", ["false", 0, None])
def test_absolute_must_be_a_boolean(tmp_path, value):
    dataset = write_dataset(tmp_path / "d", [6], modality=relative(absolute=value))
    with pytest.raises(DatasetError, match=r'action\.single_arm: "absolute" must be true or false'):
        ReplayPolicy(dataset)


def given(rep):
    config = ActionConfig(rep, "NON_EEF", "DEFAULT")
    return {"action": ModalityConfig([0, 1], ["single_arm"], action_configs=[config])}


@pytest.mark.parametrize("rep", ["ABSOLUTE", "RELATIVE"])
def test_configs_that_contradict_the_dataset_are_refused(tmp_path, rep):
    dataset = write_dataset(tmp_path / "d", [6], modality=relative(absolute=False))
    with pytest.raises(SpecError, match=f'say {rep}, but .*"absolute": false'):
        ReplayPolicy(dataset, given(rep))
    assert rep_of(ReplayPolicy(dataset, given("DELTA")), "single_arm") == "DELTA"


def test_given_configs_are_told_where_the_dataset_does_not_contradict(tmp_path):
    """RELATIVE values are made of absolute recordings in training: those are answered."""
    dataset = write_dataset(tmp_path / "d", [6], modality=relative())
    policy = ReplayPolicy(dataset, given("RELATIVE"))
    assert rep_of(policy, "single_arm") == "RELATIVE"
    assert "absolute_actions" in policy.get_capabilities()
