# SPDX-License-Identifier: Apache-2.0
"""What every transport carries: an observation of some size, and an answer that costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HORIZON = 16  # steps of an action chunk
DIMENSION = 7  # values of a state, and of each step of a chunk
STATE_KEY = "arm"
PROMPT_KEY = "annotation.human.task_description"
PATCHES = (12, 16)  # of colour in a picture, rows and columns
NOISE = 4  # of its pixels, at most
GRID = 4  # each picture is looked at in about so many rows and columns


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """How much an observation shows; height and width in px."""

    cameras: int
    height: int
    width: int

    @property
    def pixel_bytes(self) -> int:
        return self.cameras * self.height * self.width * 3

    @property
    def label(self) -> str:
        return f"{self.cameras} x {self.height}x{self.width}"

    def arguments(self) -> list[str]:
        """For a command line; `Size.parse` reads it."""
        return [str(self.cameras), str(self.height), str(self.width)]

    @classmethod
    def parse(cls, arguments: list[str]) -> Size:
        cameras, height, width = map(int, arguments)
        return cls(cameras, height, width)


def camera_keys(size: Size) -> list[str]:
    return [f"camera_{index}" for index in range(size.cameras)]


def make_observation(size: Size, seed: int) -> dict[str, Any]:
    """Random pictures and states, laid out as a GR00T policy reads them, B = T = 1."""
    generator = np.random.default_rng(seed)
    return {
        "video": {key: _picture(size, generator)[None, None] for key in camera_keys(size)},
        "state": {STATE_KEY: generator.normal(size=(1, 1, DIMENSION)).astype(np.float32)},
        "language": {PROMPT_KEY: [["pick up the apple and put it on the plate"]]},
    }


def _picture(size: Size, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Patches of colour under noise: what pure noise would be to JPEG, no camera sends."""
    patches = generator.integers(NOISE, 256 - NOISE, (*PATCHES, 3))
    rows = np.arange(size.height) * PATCHES[0] // size.height
    columns = np.arange(size.width) * PATCHES[1] // size.width
    noise = generator.integers(-NOISE, NOISE, (size.height, size.width, 3))
    return (patches[rows][:, columns] + noise).astype(np.uint8)


def answer(observation: dict[str, Any]) -> NDArray[np.float32]:
    """The chunk that every server answers with, float32 (1, HORIZON, DIMENSION).

    It repeats the state, and looks at every picture on a coarse grid, so that a transport which
    loses or damages one gives another answer.
    """
    chunk = np.repeat(observation["state"][STATE_KEY], HORIZON, axis=1)
    for index, pixels in enumerate(observation["video"].values()):
        height, width = pixels.shape[-3:-1]
        grid = pixels[..., :: height // GRID, :: width // GRID, :]
        chunk[0, index] += np.float32(grid.sum())
        chunk[0, index] += np.float32(pixels[..., -1, -1, 2].item())
    return np.asarray(chunk, dtype=np.float32)
