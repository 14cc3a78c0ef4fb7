# SPDX-License-Identifier: Apache-2.0
"""Finds a cube by its colour in a camera image, and its place on the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.world import CUBE_HALF_SIZE_M, CubePlacement

CHANNEL: Mapping[str, int] = {"red": 0, "green": 1, "blue": 2}

# A cube's own channel is at least 2.6 times the others', that of the orange jaws 1.8 times.
_DOMINANCE = 2.1
_DARKEST = 30
_MIN_AREA_PX = 60
_COARSE_YAWS_RAD = np.linspace(-math.pi / 4, math.pi / 4, 30, endpoint=False)
_FINE_YAWS_RAD = np.radians(np.linspace(-3.0, 3.0, 13))
_CORNERS = CUBE_HALF_SIZE_M * np.array(
    [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64
)


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """A fixed camera.

    Attributes:
        position: Its optical centre in the base frame, float64 (3,), m.
        rotation: float64 (3, 3), columns the camera's axes in the base frame: x right, y up,
            z backwards, as in OpenGL.
        fovy_rad: Vertical field of view.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    fovy_rad: float

    @classmethod
    def of(cls, model: mujoco.MjModel, name: str) -> PinholeCamera:
        """The camera ``name`` of a model, which must be fixed to the world."""
        camera = model.camera(name)
        return cls(
            position=camera.pos.copy(),
            rotation=camera.mat0.reshape(3, 3).copy(),
            fovy_rad=math.radians(float(camera.fovy[0])),
        )

    def project(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Project points to pixels of an image of ``size``.

        Args:
            points: float64 (..., 3) in the base frame, m, in front of the camera.
            size: Height and width of the image, px.

        Returns:
            float64 (..., 2): column and row, px; the middle of the first pixel is (0, 0).
        """
        height, width = size
        local = (points - self.position) @ self.rotation
        scaled = local[..., :2] * (self._focal_px(height) / -local[..., 2:])
        return np.stack(
            [scaled[..., 0] + (width - 1) / 2, (height - 1) / 2 - scaled[..., 1]], axis=-1
        )

    def on_plane(
        self, pixel: NDArray[np.float64], height_m: float, size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Return where the ray through a pixel meets the horizontal plane at ``height_m``.

        Returns:
            float64 (3,) in the base frame, m.
        """
        height, width = size
        local = np.array([pixel[0] - (width - 1) / 2, (height - 1) / 2 - pixel[1], 0.0])
        local[2] = -self._focal_px(height)
        ray = self.rotation @ local
        return self.position + ray * ((height_m - self.position[2]) / ray[2])

    def _focal_px(self, height: int) -> float:
        return height / 2 / math.tan(self.fovy_rad / 2)


@dataclass(frozen=True, slots=True)
class SeenCube:
    """A cube in an image.

    Attributes:
        pixel: float64 (2,), column and row of the middle of what is seen of it, px.
        place: Where it lies, if it lies on the table; good to about 1 mm and 0.1 rad where
            nothing hides a part of it.
    """

    pixel: NDArray[np.float64]
    place: CubePlacement


def find_cube(picture: NDArray[np.uint8], colour: str, camera: PinholeCamera) -> SeenCube | None:
    """Look for a cube by its colour.

    A cube is symmetric about its middle, so the middle of its outline is where its middle is seen.
    Its turn is the one whose outline covers what is seen best.

    Args:
        picture: uint8 (H, W, 3), RGB.
        colour: Name of the colour, a key of ``CHANNEL``.
        camera: The camera that took the image.

    Returns:
        The cube; None if nothing of that colour is visible.
    """
    mask = _mask(picture, CHANNEL[colour])
    if cv2.countNonZero(mask) < _MIN_AREA_PX:
        return None
    moments = cv2.moments(mask, binaryImage=True)
    pixel = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    size = (picture.shape[0], picture.shape[1])
    middle = camera.on_plane(pixel, CUBE_HALF_SIZE_M, size)
    yaw_rad = _turn(mask, middle, camera)
    return SeenCube(pixel, CubePlacement(float(middle[0]), float(middle[1]), yaw_rad))


def _mask(picture: NDArray[np.uint8], channel: int) -> NDArray[np.uint8]:
    """255 where one channel is far above the other two."""
    channels = cv2.split(picture)
    others = cv2.max(*(plane for index, plane in enumerate(channels) if index != channel))
    dominates = cv2.compare(
        channels[channel], cv2.convertScaleAbs(others, alpha=_DOMINANCE), cv2.CMP_GT
    )
    return cv2.bitwise_and(dominates, cv2.compare(channels[channel], _DARKEST, cv2.CMP_GT))


def _turn(mask: NDArray[np.uint8], middle: NDArray[np.float64], camera: PinholeCamera) -> float:
    """The turn about the vertical that explains the mask best, rad."""
    coarse = max((_overlap(mask, middle, yaw, camera), yaw) for yaw in _COARSE_YAWS_RAD)
    fits = np.array([_overlap(mask, middle, coarse[1] + d, camera) for d in _FINE_YAWS_RAD])
    # The middle of the best few: pixels make the overlap a staircase.
    weights = np.maximum(fits - fits.max() + 0.01, 0.0)
    return float(coarse[1]) + float(weights @ _FINE_YAWS_RAD / weights.sum())


def _overlap(
    mask: NDArray[np.uint8], middle: NDArray[np.float64], yaw_rad: float, camera: PinholeCamera
) -> float:
    """Intersection over union of the mask and the outline of a cube."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    pixels = camera.project(middle + _CORNERS @ turn, (mask.shape[0], mask.shape[1]))
    hull = cv2.convexHull(np.rint(pixels * 16).astype(np.int32))
    left, top, width, height = (int(v) for v in cv2.boundingRect(hull // 16))
    x, y = max(left - 10, 0), max(top - 10, 0)
    window = mask[y : top + height + 10, x : left + width + 10]
    drawn = np.zeros_like(window)
    cv2.fillConvexPoly(drawn, hull - np.array([x, y]) * 16, 255, shift=4)
    both = cv2.countNonZero(cv2.bitwise_and(window, drawn))
    either = cv2.countNonZero(cv2.bitwise_or(window, drawn))
    return both / either if either else 0.0
