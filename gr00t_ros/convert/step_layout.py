# SPDX-License-Identifier: Apache-2.0
"""The columns that steps make in a dataset: their names, their order, and their values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.datasets.schema import CameraKey, DatasetSchema, VectorKey
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.streams import ActionOutput, StateInput, StateStream
from gr00t_ros.convert.settings import ConversionSettings
from gr00t_ros.convert.steps import Step

Row = NDArray[np.float32]


class StepLayout:
    """The layout of the steps of one robot.

    Args:
        contract: The robot; its states and actions make up the columns, in their order.
        settings: Size of the videos, and the names that the dataset gives.
    """

    def __init__(self, contract: Contract, settings: ConversionSettings) -> None:
        self._contract = contract
        self._settings = settings

    def schema(self, step: Step) -> DatasetSchema:
        """The schema of a dataset of steps like this one."""
        contract = self._contract
        sizes = {key: image.shape for key, image in self.images(step).items()}
        return DatasetSchema(
            fps=contract.action_rate_hz,
            state=tuple(
                VectorKey(state.key, state_names(state, len(step.state[state.key])))
                for state in contract.state
            ),
            action=tuple(
                VectorKey(output.key, action_names(output, len(step.action[output.key])))
                for output in contract.action
            ),
            cameras=tuple(
                CameraKey(stream.key, height=sizes[stream.key][0], width=sizes[stream.key][1])
                for stream in contract.video
            ),
            robot_type=self._settings.robot_type,
            language_key=self._settings.language_key,
        )

    def state_row(self, step: Step) -> Row:
        """The values of all states in order, float32 (D,)."""
        return _joined([step.state[state.key] for state in self._contract.state])

    def action_row(self, step: Step) -> Row:
        """The values of all actions in order, float32 (D,)."""
        return _joined([step.action[output.key] for output in self._contract.action])

    def images(self, step: Step) -> Mapping[str, NDArray[np.uint8]]:
        """The images in the size of the videos, uint8 (H, W, 3) RGB by camera."""
        size = self._settings.image_size
        if size is None:
            return step.images
        return {key: _resized(image, size) for key, image in step.images.items()}

    def measured_positions(self, states: Row) -> NDArray[np.floating]:
        """The measured positions of all steps in rad or m, up to an offset: (steps, D').

        Args:
            states: The rows of all steps, as `state_row` makes them.
        """
        columns = []
        start = 0
        for stream, size in self._state_parts(states.shape[1]):
            if stream.interface.measured_joints or stream.interface.measures_pose:
                columns.append(states[:, start : start + size] / np.array(stream.scale))
            start += size
        return np.hstack(columns) if columns else np.zeros((len(states), 0))

    def commanded_positions(self, actions: Row) -> NDArray[np.floating]:
        """The commanded positions of all steps in rad or m, up to an offset: (steps, D').

        Args:
            actions: The rows of all steps, as `action_row` makes them.
        """
        columns = []
        start = 0
        for output in self._contract.action:
            size = output.dimension or actions.shape[1] - start
            if not output.interface.holds_zero:
                columns.append(actions[:, start : start + size] * np.array(output.scale))
            start += size
        return np.hstack(columns) if columns else np.zeros((len(actions), 0))

    def _state_parts(self, width: int) -> list[tuple[StateStream, int]]:
        """Each stream with the number of its values in a row of `width`."""
        streams = self._contract.state_streams
        known = sum(stream.dimension or 0 for stream in streams)
        return [(s, s.dimension if s.dimension is not None else width - known) for s in streams]


def state_names(state: StateInput, size: int) -> tuple[str, ...]:
    """The names of the values of a state: its joints, or numbers where it has none."""
    names = [name for stream in state.streams for name in _stream_names(stream)]
    return tuple(names) if len(names) == size else _numbered(state.key, size)


def _stream_names(stream: StateStream) -> Sequence[str]:
    joints = stream.interface.measured_joints
    return [joints[index] for index in stream.select] if joints and stream.select else joints


def action_names(output: ActionOutput, size: int) -> tuple[str, ...]:
    """The names of the values of an action: its joints, or numbers where it has none."""
    return output.joints if len(output.joints) == size else _numbered(output.key, size)


def _numbered(key: str, size: int) -> tuple[str, ...]:
    return tuple(f"{key}_{index}" for index in range(size))


def _joined(parts: Sequence[Row]) -> Row:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image in another height and width."""
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
