# SPDX-License-Identifier: Apache-2.0
"""Written datasets: what goes in comes out by the reader, in both formats."""

import json

import numpy as np
import pytest

from gr00t_policy_core import ReplayPolicy
from gr00t_policy_core.datasets import layout_v30
from gr00t_policy_core.datasets.dataset_writer import WRITTEN_VERSIONS, write_dataset
from gr00t_policy_core.datasets.episode_writer import EpisodeWriter, WrittenEpisode
from gr00t_policy_core.datasets.lerobot import LeRobotDataset
from gr00t_policy_core.datasets.schema import CameraKey, DatasetSchema, VectorKey
from gr00t_policy_core.datasets.video import VideoSettings
from gr00t_policy_core.errors import DatasetError, SpecError

pq = pytest.importorskip("pyarrow.parquet", reason="datasets need pyarrow (the extra 'replay')")
pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

both_formats = pytest.mark.parametrize("version", WRITTEN_VERSIONS)

HEIGHT, WIDTH, FPS = 32, 48, 20
SCHEMA = DatasetSchema(
    fps=FPS,
    state=(VectorKey("arm", ("shoulder", "elbow")), VectorKey("gripper", ("finger",))),
    action=(VectorKey("arm", ("shoulder", "elbow")), VectorKey("gripper", ("finger",))),
    cameras=(CameraKey("front", HEIGHT, WIDTH), CameraKey("wrist", HEIGHT, WIDTH)),
    robot_type="two_joints",
)


def state_at(episode, step):
    return np.array([100 * episode + step, -step, 0.5], np.float32)


def is_driven(step):
    """Whether a person drives."""
    return 3 <= step < 6


def image_at(episode, step, camera="front"):
    pixels = np.full((HEIGHT, WIDTH, 3), (30 * episode, 9 * step, 200), np.uint8)
    pixels[:8] = 255 if camera == "wrist" else 0
    return pixels


def written(folder, episode, length, *, task="pick", keep=None, schema=SCHEMA, details=None):
    """Write an episode whose values tell its number and its steps."""
    with EpisodeWriter(folder / f"run{episode}", schema, VideoSettings()) as writer:
        for step in range(length):
            state = state_at(episode, step)
            images = {c.key: image_at(episode, step, c.key) for c in schema.videos}
            writer.add(state, state + 1, images, intervention=is_driven(step))
        writer.close()
        steps = range(length) if keep is None else keep
        return writer.keep(folder / f"{episode}", steps, task=task, details=details)


@pytest.fixture
def episodes(tmp_path):
    """Three episodes of two tasks; of the second, only a part was kept."""
    return [
        written(tmp_path, 0, 8, task="pick", details={"bag": "a", "outcome": "success"}),
        written(tmp_path, 1, 12, task="place", keep=range(2, 9)),
        written(tmp_path, 2, 5, task="pick", details={"bag": "c"}),
    ]


LENGTHS, STARTS = [8, 7, 5], [0, 2, 0]


@both_formats
def test_values_and_frames_come_back(tmp_path, episodes, version):
    write_dataset(tmp_path / "d", episodes, version=version)
    dataset = LeRobotDataset(tmp_path / "d")
    assert [episode.length for episode in dataset.episodes.values()] == LENGTHS
    for index, (length, start) in enumerate(zip(LENGTHS, STARTS, strict=True)):
        expected = np.array([state_at(index, start + step) for step in range(length)])
        state = dataset.read(index, "state", ["arm", "gripper"])
        np.testing.assert_array_equal(state["arm"], expected[:, :2])
        np.testing.assert_array_equal(state["gripper"], expected[:, 2:])
        action = dataset.read(index, "action", ["arm"])["arm"]
        np.testing.assert_array_equal(action, expected[:, :2] + 1)
        for camera in ("front", "wrist"):
            frames = list(dataset.read_video(index, camera))
            assert len(frames) == length
            for step, decoded in enumerate(frames):
                recorded = image_at(index, start + step, camera).astype(int)
                assert np.abs(decoded - recorded).mean() < 6


@both_formats
def test_who_drove_is_a_column_and_nothing_that_a_policy_reads(tmp_path, episodes, version):
    write_dataset(tmp_path / "d", episodes, version=version)
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    assert info["features"]["intervention"] == {"dtype": "bool", "shape": [1], "names": None}
    (field,) = {
        pq.read_schema(file).field("intervention").type
        for file in (tmp_path / "d/data").glob("*/*.parquet")
    }
    assert str(field) == "bool"
    dataset = LeRobotDataset(tmp_path / "d")
    for index, (length, start) in enumerate(zip(LENGTHS, STARTS, strict=True)):
        expected = [is_driven(start + step) for step in range(length)]
        assert dataset.read_column(index, "intervention")[:, 0].tolist() == expected
    assert "intervention" not in (tmp_path / "d/meta/modality.json").read_text()
    if version == "v2.1":
        line = (tmp_path / "d/meta/episodes_stats.jsonl").read_text().splitlines()[0]
        stats = json.loads(line)["stats"]["intervention"]
    else:
        (file,) = (tmp_path / "d/meta/episodes").glob("*/*.parquet")
        row = pq.read_table(file).slice(0, 1).to_pylist()[0]
        stats = {name: row[f"stats/intervention/{name}"] for name in ("mean", "max", "count")}
    assert (stats["mean"], stats["max"], stats["count"]) == ([3 / 8], [1.0], [8])


@both_formats
def test_a_replay_plays_it(tmp_path, episodes, version):
    write_dataset(tmp_path / "d", episodes, version=version)
    policy = ReplayPolicy(tmp_path / "d", action_horizon=3, strict=False)
    configs = policy.get_modality_config()
    assert configs["video"].modality_keys == ["front", "wrist"]
    assert configs["language"].modality_keys == ["annotation.human.task_description"]
    policy.reset({"episode_index": 1})
    action, info = policy.get_action(None, {"batch_size": 1})
    assert info["episode_length"] == 7
    np.testing.assert_array_equal(action["arm"][0, :, 0], [103, 104, 105])


@both_formats
def test_numbers_of_episodes_steps_and_tasks(tmp_path, episodes, version):
    write_dataset(tmp_path / "d", episodes, version=version)
    tables = [pq.read_table(file) for file in sorted((tmp_path / "d/data").glob("*/*.parquet"))]
    columns = {
        name: np.concatenate([table.column(name).to_numpy() for table in tables])
        for name in tables[0].column_names
        if name not in ("observation.state", "action")
    }
    np.testing.assert_array_equal(columns["index"], np.arange(20))
    np.testing.assert_array_equal(columns["episode_index"], np.repeat([0, 1, 2], LENGTHS))
    frames = np.concatenate([np.arange(length) for length in LENGTHS])
    np.testing.assert_array_equal(columns["frame_index"], frames)
    np.testing.assert_allclose(columns["timestamp"], frames / FPS, atol=1e-6)
    tasks = np.repeat([0, 1, 0], LENGTHS)
    np.testing.assert_array_equal(columns["task_index"], tasks)
    np.testing.assert_array_equal(columns["annotation.human.task_description"], tasks)
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 20, 2)
    assert info["fps"] == FPS
    assert isinstance(info["fps"], int)
    assert info["robot_type"] == "two_joints"
    assert info["features"]["action"]["names"] == ["shoulder", "elbow", "finger"]
    assert set(info["features"]) == {
        *tables[0].column_names,
        "observation.images.front",
        "observation.images.wrist",
    }


def test_v21_has_the_lists_that_lerobot_and_isaac_read(tmp_path, episodes):
    write_dataset(tmp_path / "d", episodes, version="v2.1")
    meta = tmp_path / "d/meta"

    def lines(name):
        return [json.loads(line) for line in (meta / name).read_text().splitlines()]

    assert lines("tasks.jsonl") == [
        {"task_index": 0, "task": "pick"},
        {"task_index": 1, "task": "place"},
    ]
    assert lines("episodes.jsonl")[0] == {
        "episode_index": 0,
        "tasks": ["pick"],
        "length": 8,
        "bag": "a",
        "outcome": "success",
    }
    stats = lines("episodes_stats.jsonl")[1]["stats"]
    assert stats["observation.state"]["min"][0] == 102
    assert stats["observation.state"]["max"][0] == 108
    assert stats["observation.state"]["count"] == [7]
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    whole = json.loads((meta / "stats.json").read_text())
    assert set(whole) == {"observation.state", "action"}
    assert set(whole["action"]) == {"mean", "std", "min", "max", "q01", "q99"}
    assert (whole["action"]["min"][0], whole["action"]["max"][0]) == (1, 205)
    modality = json.loads((meta / "modality.json").read_text())
    assert modality["state"]["gripper"] == {"start": 2, "end": 3}
    assert modality["annotation"] == {"human.task_description": {}}


def test_v30_has_the_lists_that_lerobot_reads(tmp_path, episodes):
    write_dataset(tmp_path / "d", episodes, version="v3.0")
    meta = tmp_path / "d/meta"
    rows = pq.read_table(meta / "episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["dataset_from_index"] for row in rows] == [0, 8, 15]
    assert [row["dataset_to_index"] for row in rows] == [8, 15, 20]
    starts = [row["videos/observation.images.front/from_timestamp"] for row in rows]
    np.testing.assert_allclose(starts, [0, 8 / FPS, 15 / FPS])
    assert rows[1]["stats/action/min"][0] == 103
    assert [row["bag"] for row in rows] == ["a", None, "c"]
    # LeRobot reads it with pandas, and takes the index for the tasks.
    schema = pq.read_schema(meta / "tasks.parquet")
    assert json.loads(schema.metadata[b"pandas"])["index_columns"] == ["task"]
    stats = json.loads((meta / "stats.json").read_text())
    assert np.shape(stats["observation.images.wrist"]["q99"]) == (3, 1, 1)


def test_v30_begins_a_file_when_the_last_one_is_full(tmp_path, episodes, monkeypatch):
    monkeypatch.setattr(layout_v30, "DATA_FILE_MB", 1e-4)
    monkeypatch.setattr(layout_v30, "VIDEO_FILE_MB", 1e-4)
    monkeypatch.setattr(layout_v30, "FILES_PER_CHUNK", 2)
    write_dataset(tmp_path / "d", episodes, version="v3.0")
    videos = sorted((tmp_path / "d/videos/observation.images.front").glob("*/*.mp4"))
    assert [f"{v.parent.name}/{v.name}" for v in videos] == [
        "chunk-000/file-000.mp4",
        "chunk-000/file-001.mp4",
        "chunk-001/file-000.mp4",
    ]
    assert len(list((tmp_path / "d/data").glob("*/*.parquet"))) == 3
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.read(2, "state", ["arm"])["arm"][0, 0] == 200
    assert len(list(dataset.read_video(2, "wrist"))) == 5


def test_pixels_have_the_statistics_of_their_levels(tmp_path, episodes):
    statistics = episodes[0].image_statistics["front"]
    frames = np.array([image_at(0, step) for step in (0, 5)]) / 255
    for name, expected in (
        ("mean", frames.mean((0, 1, 2))),
        ("std", frames.std((0, 1, 2))),
        ("min", frames.min((0, 1, 2))),
        ("max", frames.max((0, 1, 2))),
        ("q50", np.median(frames, (0, 1, 2))),
    ):
        np.testing.assert_allclose(np.ravel(statistics[name]), expected, atol=0.005)


@both_formats
def test_a_dataset_is_not_overwritten(tmp_path, episodes, version):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine").touch()
    with pytest.raises(DatasetError, match="is there already"):
        write_dataset(tmp_path / "d", episodes, version=version)
    with pytest.raises(DatasetError, match="is not a dataset, so it is not replaced"):
        write_dataset(tmp_path / "d", episodes, version=version, replace=True)
    assert [file.name for file in (tmp_path / "d").iterdir()] == ["mine"]


@both_formats
def test_a_dataset_is_replaced_where_that_is_asked_for(tmp_path, episodes, version):
    (tmp_path / "d").mkdir()
    for part in (episodes[:2], episodes):
        write_dataset(tmp_path / "d", part, version=version, replace=True)
        assert len(LeRobotDataset(tmp_path / "d").episodes) == len(part)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("d.")]


@both_formats
def test_an_error_on_the_way_leaves_no_dataset(tmp_path, episodes, version):
    (episodes[2].folder / "wrist.mp4").unlink()
    with pytest.raises(OSError, match="wrist"):
        write_dataset(tmp_path / "d", episodes, version=version)
    assert not (tmp_path / "d").exists()


def test_a_dataset_without_episodes_is_refused(tmp_path):
    with pytest.raises(SpecError, match="at least one episode"):
        write_dataset(tmp_path / "d", [], version="v2.1")


def test_episodes_of_another_robot_are_refused(tmp_path, episodes):
    other = DatasetSchema(fps=FPS, state=SCHEMA.state, action=SCHEMA.action)
    stranger = written(tmp_path, 7, 4, schema=other)
    with pytest.raises(SpecError, match=r"0 and .*7 do not fit into one dataset: cameras is"):
        write_dataset(tmp_path / "d", [*episodes, stranger], version="v2.1")


def test_without_videos_cameras_are_only_named(tmp_path):
    cameras = (CameraKey("front"),)
    schema = DatasetSchema(fps=FPS, state=SCHEMA.state, action=SCHEMA.action, cameras=cameras)
    write_dataset(tmp_path / "d", [written(tmp_path, 0, 4, schema=schema)], version="v2.1")
    info = json.loads((tmp_path / "d/meta/info.json").read_text())
    assert info["video_path"] is None
    assert "observation.images.front" not in info["features"]
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.keys["video"] == ["front"]
    with pytest.raises(DatasetError, match="video_path is null: the dataset has no videos"):
        next(dataset.read_video(0, "front"))


def test_an_episode_is_read_from_its_folder(tmp_path, episodes):
    assert WrittenEpisode.read(episodes[1].folder) == episodes[1]


def test_an_abandoned_episode_leaves_nothing(tmp_path):
    images = {"front": image_at(0, 0), "wrist": image_at(0, 0)}
    with EpisodeWriter(tmp_path / "run", SCHEMA, VideoSettings()) as writer:
        writer.add(state_at(0, 0), state_at(0, 0), images)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("steps", [range(3, 6), range(2, 2)])
def test_steps_that_cannot_be_cut_are_refused(tmp_path, steps):
    with pytest.raises(ValueError, match="no episode can be made"):
        written(tmp_path, 0, 8, keep=steps)


def test_a_robot_without_states_has_no_column_of_them(tmp_path):
    schema = DatasetSchema(fps=FPS, state=(), action=SCHEMA.action, cameras=SCHEMA.cameras[:1])
    with EpisodeWriter(tmp_path / "run", schema, VideoSettings()) as writer:
        for step in range(4):
            empty = np.zeros(0, np.float32)
            writer.add(empty, state_at(0, step), {"front": image_at(0, step)})
        writer.close()
        assert writer.states.shape == (4, 0)
        episode = writer.keep(tmp_path / "0", range(4), task="look")
    write_dataset(tmp_path / "d", [episode], version="v2.1")
    dataset = LeRobotDataset(tmp_path / "d")
    assert dataset.keys["state"] == []
    assert dataset.read(0, "action", ["arm"])["arm"].shape == (4, 2)


def test_a_row_of_another_size_is_refused(tmp_path):
    schema = DatasetSchema(fps=FPS, state=SCHEMA.state, action=SCHEMA.action)
    with EpisodeWriter(tmp_path / "run", schema, VideoSettings()) as writer:
        with pytest.raises(ValueError, match=r"rows of shape \(2,\) and \(3,\)"):
            writer.add(state_at(0, 0)[:2], state_at(0, 0), {})
        assert len(writer) == 0


@pytest.mark.parametrize("key", ["../../etc/front", "", "a/b"])
def test_a_camera_whose_videos_would_lie_elsewhere_is_refused(key):
    with pytest.raises(SpecError, match="videos cannot be named"):
        CameraKey(key, HEIGHT, WIDTH)


def test_a_rate_that_is_no_integer_stays_what_it_is(tmp_path):
    schema = DatasetSchema(fps=12.5, state=SCHEMA.state, action=SCHEMA.action)
    write_dataset(tmp_path / "d", [written(tmp_path, 0, 4, schema=schema)], version="v3.0")
    assert json.loads((tmp_path / "d/meta/info.json").read_text())["fps"] == 12.5
