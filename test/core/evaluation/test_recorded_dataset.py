# SPDX-License-Identifier: Apache-2.0
"""What an evaluation reads of a written dataset: frames of videos, instructions and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow.parquet", reason="datasets need pyarrow (the extra 'replay')")
pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")

from gr00t_policy_core.datasets.dataset_writer import WRITTEN_VERSIONS, write_dataset
from gr00t_policy_core.datasets.episode_writer import EpisodeWriter, WrittenEpisode
from gr00t_policy_core.datasets.schema import CameraKey, DatasetSchema, VectorKey
from gr00t_policy_core.datasets.video import VideoSettings
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.evaluation.evaluation import EvaluationSettings, evaluate
from gr00t_policy_core.evaluation.finding import Fault
from gr00t_policy_core.evaluation.open_loop import OpenLoopSettings
from gr00t_policy_core.evaluation.recorded_dataset import RecordedDataset
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.policy import Action, Info, ModalityPolicy, Observation, Options

SIZE, LENGTHS = 32, (40, 24)
SCHEMA = DatasetSchema(
    fps=20,
    state=(VectorKey("arm", ("shoulder", "elbow")),),
    action=(VectorKey("arm", ("shoulder", "elbow")),),
    cameras=(CameraKey("front", SIZE, SIZE), CameraKey("wrist", SIZE, SIZE)),
    robot_type="two_joints",
)


def brightness(camera: str, step: int) -> int:
    return 20 + 5 * step if camera == "front" else 230 - 5 * step


def action_at(step: float) -> list[float]:
    return [np.sin(step / 5), np.cos(step / 7)]


def episode(folder: Path, number: int, length: int) -> WrittenEpisode:
    with EpisodeWriter(folder / f"run{number}", SCHEMA, VideoSettings(quality=5)) as writer:
        for step in range(length):
            images = {
                camera: np.full((SIZE, SIZE, 3), brightness(camera, step), np.uint8)
                for camera in ("front", "wrist")
            }
            action = np.array(action_at(step), np.float32)
            writer.add(action - 0.01, action, images)
        writer.close()
        return writer.keep(folder / f"{number}", range(length), task=f"task {number}")


@pytest.fixture(params=WRITTEN_VERSIONS)
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> RecordedDataset:
    episodes = [episode(tmp_path, number, length) for number, length in enumerate(LENGTHS)]
    write_dataset(tmp_path / "data", episodes, version=request.param)
    return RecordedDataset(tmp_path / "data")


class Seeing(ModalityPolicy):
    """Knows the actions by the brightness of the picture that it takes for the front camera."""

    def __init__(self, front: str, language_key: str) -> None:
        super().__init__()
        self.front = front
        self.language_key = language_key
        self.instructions: set[str] = set()

    def get_modality_config(self) -> dict[str, ModalityConfig]:
        return {
            "video": ModalityConfig([0], ["front", "wrist"]),
            "state": ModalityConfig([0], ["arm"]),
            "language": ModalityConfig([0], [self.language_key]),
            "action": ModalityConfig(list(range(8)), ["arm"]),
        }

    def _get_action(
        self, observation: Observation, options: Options | None = None
    ) -> tuple[Action, Info]:
        self.instructions.add(observation["language"][self.language_key][0][0])
        step = (float(observation["video"][self.front].mean()) - 20) / 5
        rows = [action_at(step + ahead) for ahead in range(8)]
        return {"arm": np.array([rows], np.float32)}, {}


def evaluated(policy: ModalityPolicy, dataset: RecordedDataset):
    settings = EvaluationSettings(
        episodes=dataset.chosen(None, 5), open_loop=OpenLoopSettings(execution_horizon=4)
    )
    return evaluate("policy", policy, dataset, dataset.names_of, settings)


def test_a_policy_gets_frames_and_instructions_of_the_step(dataset: RecordedDataset) -> None:
    key = ReplayPolicy(dataset.path).get_modality_config()["language"].modality_keys[0]
    policy = Seeing("front", key)
    evaluation = evaluated(policy, dataset)
    assert evaluation.accuracy.mae < 0.05  # of a motion of 1: what the video's compression costs
    assert policy.instructions == {"task 0", "task 1"}
    assert evaluation.names == {"arm": ("shoulder", "elbow")}


def test_swapped_cameras_of_a_dataset_are_found(dataset: RecordedDataset) -> None:
    key = ReplayPolicy(dataset.path).get_modality_config()["language"].modality_keys[0]
    findings = evaluated(Seeing("wrist", key), dataset).findings
    assert Fault.SWAPPED_CAMERAS in {finding.fault for finding in findings}


def test_the_replay_of_a_dataset_has_no_error(dataset: RecordedDataset) -> None:
    evaluation = evaluated(ReplayPolicy(dataset.path), dataset)
    assert evaluation.accuracy.mse == 0.0
    assert evaluation.findings == ()


def test_a_key_that_the_dataset_lacks_is_named(dataset: RecordedDataset) -> None:
    policy = Seeing("front", "annotation.human.other")
    with pytest.raises(SpecError, match=r"no language key 'annotation.human.other'"):
        evaluated(policy, dataset)
    with pytest.raises(SpecError, match=r"has no state.legs; its state keys are \['arm'\]"):
        dataset.read(0, "state", ["legs"])
    with pytest.raises(SpecError, match=r"has no episode \[7\], only 0 to 1"):
        dataset.chosen([7], 5)
