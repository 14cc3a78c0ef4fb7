# SPDX-License-Identifier: Apache-2.0
"""Which OpenGL MuJoCo renders with on a machine that need not have a display."""

from __future__ import annotations

import ctypes
import os
import sys

INSTALL_HINT = (
    "Install a software renderer, on Debian or Ubuntu one of: "
    "'apt install libegl1 libgl1-mesa-dri' (EGL, preferred) or 'apt install libosmesa6' (OSMesa)."
)

_EGL_PLATFORM_DEVICE_EXT = 0x313F
_MAX_EGL_DEVICES = 16


def choose_gl_backend() -> str | None:
    """Set ``MUJOCO_GL`` to ``egl``, else ``osmesa``, else ``disable``, unless it is set already.

    With ``disable`` the physics works and only rendering is refused. Outside Linux MuJoCo's own
    choice stands.

    Returns:
        The value of ``MUJOCO_GL`` in force, None where MuJoCo is left to choose.
    """
    if "MUJOCO_GL" not in os.environ and sys.platform == "linux":
        os.environ["MUJOCO_GL"] = _first_working_backend()
    return os.environ.get("MUJOCO_GL")


def _first_working_backend() -> str:
    if _egl_has_a_driver():
        return "egl"
    if _load_library("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so") is not None:
        return "osmesa"
    return "disable"


def _load_library(*names: str) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _egl_has_a_driver() -> bool:
    """Whether some EGL device initialises: the library alone, without a driver, cannot render.

    Follows EGL_EXT_device_enumeration and EGL_EXT_platform_device, which MuJoCo uses too.
    """
    egl = _load_library("libEGL.so.1", "libEGL.so")
    if egl is None:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query_address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_address = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query_address or not display_address:
        return False
    query_devices = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)
    )(query_address)
    platform_display = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p
    )(display_address)

    devices = (ctypes.c_void_p * _MAX_EGL_DEVICES)()
    count = ctypes.c_int()
    if not query_devices(_MAX_EGL_DEVICES, ctypes.byref(devices), ctypes.byref(count)):
        return False
    return any(
        _initialises(egl, platform_display(_EGL_PLATFORM_DEVICE_EXT, device, None))
        for device in devices[: count.value]
    )


def _initialises(egl: ctypes.CDLL, display: int | None) -> bool:
    if not display:
        return False
    handle = ctypes.c_void_p(display)
    if not egl.eglInitialize(handle, None, None):
        return False
    egl.eglTerminate(handle)
    return True
