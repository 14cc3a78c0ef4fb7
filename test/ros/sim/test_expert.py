# SPDX-License-Identifier: Apache-2.0
"""The scripted expert and its recordings: the cube ends in the bin, also when they are replayed."""

import json
from pathlib import Path

import numpy as np
import pytest

import gr00t_ros.sim  # noqa: F401  # chooses the OpenGL backend, so before mujoco

pytest.importorskip("mujoco")
parquet = pytest.importorskip("pyarrow.parquet")

from gr00t_policy_core.policies.replay import ReplayPolicy  # noqa: E402
from gr00t_ros.sim.expert import minimum_jerk  # noqa: E402
from gr00t_ros.sim.kinematics import JOINT_NAMES  # noqa: E402
from gr00t_ros.sim.record import (  # noqa: E402
    DATASET_PATH,
    FPS,
    ExpertFailedError,
    Trajectory,
    expert_actions,
    main,
    record_episode,
    write_demonstrations,
)
from gr00t_ros.sim.world import CUBE_NAMES, SimulatedArm  # noqa: E402

CONTROL_PERIOD_S = 0.01


def lines(name: str) -> list[dict]:
    text = (DATASET_PATH / "meta" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def column(episode_index: int, name: str, dataset: Path = DATASET_PATH) -> np.ndarray:
    file = dataset / f"data/chunk-000/episode_{episode_index:06d}.parquet"
    return np.array(parquet.read_table(file)[name].to_pylist(), dtype=np.float32)


def replay(arm: SimulatedArm, actions: np.ndarray, *, delay_s: float) -> None:
    """Send the actions as a control node does: at 100 Hz, interpolated, a while late."""
    trajectory = Trajectory(actions)
    end_s = len(actions) / FPS + delay_s + 0.3
    for tick in range(round(end_s / CONTROL_PERIOD_S)):
        arm.set_target_vector(trajectory.at(tick * CONTROL_PERIOD_S - delay_s))
        arm.step(round(CONTROL_PERIOD_S / arm.timestep_s))


@pytest.mark.parametrize("seed", range(100, 112))
def test_the_expert_puts_each_cube_into_the_bin_and_leaves_the_others(seed: int) -> None:
    arm = SimulatedArm()
    for cube in CUBE_NAMES:
        arm.reset(seed)
        others = {name: arm.cube_position(name) for name in CUBE_NAMES if name != cube}
        assert not arm.cube_in_bin(cube)
        record_episode(arm, scene_seed=seed, cube=cube)
        assert arm.cube_in_bin(cube)
        for name, before in others.items():
            np.testing.assert_allclose(arm.cube_position(name), before, atol=2e-3)


def test_the_cube_is_lifted_clear_of_the_table_by_friction_alone() -> None:
    arm = SimulatedArm(seed=0)
    trajectory = Trajectory(expert_actions(arm, "red"))
    highest = 0.0
    while arm.time_s < len(trajectory.targets) / FPS:
        arm.set_target_vector(trajectory.at(arm.time_s))
        arm.step()
        highest = max(highest, float(arm.cube_position("red")[2]))
    assert highest > 0.08
    assert arm.model.nexclude == 0
    # The only equality couples the jaws; nothing welds a cube to the hand.
    assert arm.model.neq == 1


@pytest.mark.parametrize("seed", range(100, 104))
def test_the_expert_is_moderate_and_smooth(seed: int) -> None:
    arm = SimulatedArm(seed)
    for cube in CUBE_NAMES:
        actions = expert_actions(arm, cube).astype(np.float64)
        assert 6.0 <= len(actions) / FPS <= 10.0
        speeds = np.diff(actions[:, :6], axis=0) * FPS
        assert np.abs(speeds).max() <= 1.5
        assert np.abs(np.diff(speeds, axis=0)).max() < 0.5
        np.testing.assert_allclose(actions[0], arm.targets, atol=1e-6)
        np.testing.assert_allclose(actions[-1], arm.targets, atol=1e-6)


def test_minimum_jerk_starts_and_ends_at_rest() -> None:
    assert [minimum_jerk(progress) for progress in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert minimum_jerk(1e-3) < 1e-7
    assert 1 - minimum_jerk(1 - 1e-3) < 1e-7


def test_a_cube_that_is_not_caught_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gr00t_ros.sim.expert.SQUEEZE_M", 0.02)
    with pytest.raises(ExpertFailedError, match="scene 0: the red cube ended at"):
        record_episode(SimulatedArm(), scene_seed=0, cube="red")


def test_the_dataset_in_the_package_is_what_the_recorder_writes(tmp_path: Path) -> None:
    assert main(["--output", str(tmp_path)]) == 0
    for name in ("info.json", "modality.json", "tasks.jsonl", "episodes.jsonl"):
        recorded = (tmp_path / "meta" / name).read_text(encoding="utf-8")
        assert recorded == (DATASET_PATH / "meta" / name).read_text(encoding="utf-8")
    for index in range(len(lines("episodes.jsonl"))):
        again = column(index, "action", tmp_path)
        np.testing.assert_allclose(again, column(index, "action"), atol=1e-6)


def test_recorded_states_follow_recorded_actions() -> None:
    for index in range(len(lines("episodes.jsonl"))):
        states, actions = column(index, "observation.state"), column(index, "action")
        assert states.shape == actions.shape == (lines("episodes.jsonl")[index]["length"], 7)
        np.testing.assert_allclose(states[:, :6], actions[:, :6], atol=0.05)
        np.testing.assert_allclose(states[0], actions[0], atol=1e-6)


def test_the_dataset_describes_itself() -> None:
    info = json.loads((DATASET_PATH / "meta/info.json").read_text(encoding="utf-8"))
    episodes = lines("episodes.jsonl")
    assert info["codebase_version"] == "v2.1"
    assert info["fps"] == FPS
    assert info["total_episodes"] == len(episodes) == len(lines("episodes_stats.jsonl"))
    assert info["total_frames"] == sum(episode["length"] for episode in episodes)
    assert info["features"]["action"]["names"] == list(JOINT_NAMES)
    rows = column(1, "index")
    assert rows[0] == episodes[0]["length"]
    np.testing.assert_allclose(column(1, "timestamp"), np.arange(len(rows)) / FPS, atol=1e-6)
    stats = lines("episodes_stats.jsonl")[0]["stats"]["action"]
    np.testing.assert_allclose(stats["max"], column(0, "action").max(axis=0), atol=1e-6)
    size = sum(file.stat().st_size for file in DATASET_PATH.rglob("*") if file.is_file())
    assert size < 1_000_000


def test_a_dataset_without_episodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        write_demonstrations(tmp_path, [])


def test_the_replay_policy_plays_the_dataset() -> None:
    policy = ReplayPolicy(DATASET_PATH, strict=False)
    assert policy.reset({"episode_index": 0, "step_index": 0})["episode_length"] == 276
    action, _ = policy.get_action({})
    expected = column(0, "action")[:16]
    np.testing.assert_array_equal(action["single_arm"][0], expected[:, :6])
    np.testing.assert_array_equal(action["gripper"][0], expected[:, 6:])


@pytest.mark.parametrize("delay_s", [0.0, 0.017, 0.033, 0.05])
def test_replayed_recordings_put_the_cube_into_the_bin_again(delay_s: float) -> None:
    arm = SimulatedArm()
    for index, episode in enumerate(lines("episodes.jsonl")):
        arm.reset(episode["scene_seed"])
        cube = next(name for name in CUBE_NAMES if name in episode["tasks"][0].split())
        replay(arm, column(index, "action"), delay_s=delay_s)
        assert arm.cube_in_bin(cube), arm.cube_position(cube)
