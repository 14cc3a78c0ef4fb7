# SPDX-License-Identifier: Apache-2.0
"""What a dataset holds: its keys, their values and its cameras, as LeRobot and GR00T name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gr00t_policy_core.datasets.keys import DEFAULT_COLUMNS, IMAGE_PREFIX, LANGUAGE_PREFIX
from gr00t_policy_core.errors import SpecError

INDEX_COLUMNS = ("frame_index", "episode_index", "index", "task_index")
PIXEL_FORMAT = "yuv420p"
# Whether a person drove: LeRobot's column in recordings for DAgger (rollout/strategies/dagger.py).
INTERVENTION_COLUMN = "intervention"


@dataclass(frozen=True, slots=True)
class VectorKey:
    """One state or action key.

    Args:
        key: The policy's name for it.
        names: The name of each of its values, such as the joints.
    """

    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CameraKey:
    """One camera.

    Args:
        key: The policy's name for it.
        height: Height of its video in px; None if the dataset only names the camera.
        width: Width of its video in px; None like `height`.

    Raises:
        SpecError: The key is not a name of a file.
    """

    key: str
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        if not self.key or "/" in self.key or "\0" in self.key:
            raise SpecError("bad dataset", [f"a camera's videos cannot be named {self.key!r}"])

    @property
    def column(self) -> str:
        """The feature's name in `meta/info.json`."""
        return IMAGE_PREFIX + self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSchema:
    """The keys of a dataset, in order.

    Args:
        fps: Steps per second.
        state: The state keys; their values make up the column ``observation.state``.
        action: The action keys; their values make up the column ``action``.
        cameras: The cameras.
        robot_type: The robot's name.
        language_key: The name of the prompt without ``annotation.``.
    """

    fps: float
    state: tuple[VectorKey, ...]
    action: tuple[VectorKey, ...]
    cameras: tuple[CameraKey, ...] = ()
    robot_type: str = ""
    language_key: str = "human.task_description"

    @property
    def videos(self) -> tuple[CameraKey, ...]:
        """The cameras that the dataset has videos of."""
        return tuple(camera for camera in self.cameras if camera.height is not None)

    @property
    def widths(self) -> tuple[int, int]:
        """The number of values of a state row and of an action row."""
        state, action = (sum(len(k.names) for k in keys) for keys in (self.state, self.action))
        return state, action

    @property
    def vectors(self) -> dict[str, tuple[VectorKey, ...]]:
        """The keys of each vector column, without the columns that have none."""
        columns = {DEFAULT_COLUMNS["state"]: self.state, DEFAULT_COLUMNS["action"]: self.action}
        return {column: keys for column, keys in columns.items() if keys}

    @property
    def language_column(self) -> str:
        """The column of the prompt's index in the list of tasks."""
        return LANGUAGE_PREFIX + self.language_key

    @property
    def fps_number(self) -> float:
        """`fps`, as an int where it is one: LeRobot expects an int."""
        return int(self.fps) if self.fps == int(self.fps) else self.fps

    def features(self, codec: str | None) -> dict[str, Any]:
        """The ``features`` of `meta/info.json`.

        Args:
            codec: The name of the videos' codec, if there are videos.
        """
        scalar = {"shape": [1], "names": None}
        return {
            **{column: _vector_feature(keys) for column, keys in self.vectors.items()},
            **{camera.column: self._video_feature(camera, codec) for camera in self.videos},
            INTERVENTION_COLUMN: {"dtype": "bool", **scalar},
            "timestamp": {"dtype": "float32", **scalar},
            **{name: {"dtype": "int64", **scalar} for name in INDEX_COLUMNS},
            self.language_column: {"dtype": "int64", **scalar},
        }

    def modality(self) -> dict[str, Any]:
        """The content of `meta/modality.json`, as Isaac-GR00T defines it.

        It lists what a policy reads and writes, so who drove is not in it.
        """
        return {
            "state": _slices(self.state),
            "action": _slices(self.action),
            "video": {camera.key: {"original_key": camera.column} for camera in self.cameras},
            "annotation": {self.language_key: {}},
        }

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and lists, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> DatasetSchema:
        """Build a schema from `as_json`, also after a way through a JSON file."""
        return cls(
            fps=raw["fps"],
            state=_vector_keys(raw["state"]),
            action=_vector_keys(raw["action"]),
            cameras=tuple(CameraKey(**camera) for camera in raw["cameras"]),
            robot_type=raw["robot_type"],
            language_key=raw["language_key"],
        )

    def _video_feature(self, camera: CameraKey, codec: str | None) -> dict[str, Any]:
        return {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": camera.height,
                "video.width": camera.width,
                "video.codec": codec,
                "video.pix_fmt": PIXEL_FORMAT,
                "video.is_depth_map": False,
                "video.fps": self.fps_number,
                "video.channels": 3,
                "has_audio": False,
            },
        }


def _vector_feature(keys: Iterable[VectorKey]) -> dict[str, Any]:
    names = [name for key in keys for name in key.names]
    return {"dtype": "float32", "shape": [len(names)], "names": names}


def _slices(keys: Iterable[VectorKey]) -> dict[str, dict[str, int]]:
    slices, start = {}, 0
    for key in keys:
        slices[key.key] = {"start": start, "end": start + len(key.names)}
        start += len(key.names)
    return slices


def _vector_keys(raw: Iterable[Mapping[str, Any]]) -> tuple[VectorKey, ...]:
    return tuple(VectorKey(key["key"], tuple(key["names"])) for key in raw)
