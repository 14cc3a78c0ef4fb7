# SPDX-License-Identifier: Apache-2.0
"""Renders the camera images of a MuJoCo model without a display."""

from __future__ import annotations

import os
import threading

import mujoco
import numpy as np
from numpy.typing import NDArray

from gr00t_ros.sim.gl_backend import INSTALL_HINT


class RenderingUnavailableError(RuntimeError):
    """No OpenGL context can be made here; the text says which packages bring one."""


class CameraRenderer:
    """Renders the model's cameras from joint positions, in the one thread that made it.

    It keeps simulation data of its own, so another thread may step the physics meanwhile.

    Args:
        model: The model; it must not change while the renderer lives, apart from the size of its
            offscreen buffer, which this enlarges where ``width`` x ``height`` needs it.
        width: Width of the images in pixels.
        height: Height of the images in pixels.

    Raises:
        RenderingUnavailableError: If there is no working EGL or OSMesa.
        ValueError: If the size is not positive.
    """

    def __init__(self, model: mujoco.MjModel, *, width: int = 640, height: int = 480) -> None:
        if width < 1 or height < 1:
            raise ValueError(f"picture size must be positive, got {width} x {height}")
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._model = model
        self._data = mujoco.MjData(model)
        self._thread = threading.get_ident()
        self._renderer = _make_renderer(model, width=width, height=height)

    def render(
        self, qpos: NDArray[np.float64], camera: str, *, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Render an image of the scene at the generalised positions ``qpos``.

        Args:
            qpos: float64 (model.nq,), as in ``MjData.qpos``.
            camera: Name of a camera of the model.
            out: Where to put the image, uint8 (height, width, 3), C-contiguous.

        Returns:
            ``out``, else a new array: uint8 (height, width, 3), RGB, first row on top.

        Raises:
            ValueError: If the model has no such camera or ``out`` has another shape.
            RuntimeError: If called in another thread than the one that made the renderer.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "an OpenGL context belongs to one thread: "
                "render in the thread that made the renderer, or make another one here"
            )
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera=camera)
        return self._renderer.render(out=out)

    def close(self) -> None:
        """Free the OpenGL context; call it in the thread that made the renderer."""
        self._renderer.close()


def _make_renderer(model: mujoco.MjModel, *, width: int, height: int) -> mujoco.Renderer:
    backend = os.environ.get("MUJOCO_GL", "chosen by MuJoCo")
    if backend in ("disable", "disabled", "off", "false", "0"):
        raise RenderingUnavailableError(f"cannot render (MUJOCO_GL is {backend!r}). {INSTALL_HINT}")
    try:
        return mujoco.Renderer(model, height, width)
    # What a missing or broken driver raises depends on the backend, PyOpenGL and the driver.
    except Exception as error:
        raise RenderingUnavailableError(
            f"no OpenGL context (MUJOCO_GL is {backend!r}): {error}. {INSTALL_HINT}"
        ) from error
