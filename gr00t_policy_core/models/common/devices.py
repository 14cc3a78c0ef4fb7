# SPDX-License-Identifier: Apache-2.0
"""Devices and dtypes by name."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from gr00t_policy_core.errors import SpecError

# fp8 is bfloat16 with some layers in float8, see `gr00t_policy_core.models.common.float8`.
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp8": torch.bfloat16,
}


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make `device` the current GPU, to which new streams and events belong."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def default_device() -> str:
    """``cuda`` if there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_device(device: str | int) -> torch.device:
    """The device of a name; raises `SpecError` for an unknown name or a GPU that is absent."""
    if isinstance(device, str) and device.isdecimal():
        device = int(device)
    try:
        found = torch.device(f"cuda:{device}" if isinstance(device, int) else device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise SpecError("bad device", [f"must be cuda, cuda:0, cuda:1, … or cpu, got {device!r}"])
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SpecError(
            "bad device",
            [f"{device!r}: torch {torch.__version__} finds no GPU; 'cpu' works, but slowly"],
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise SpecError(
            "bad device", [f"{device!r}: this machine has {torch.cuda.device_count()} GPUs"]
        )
    return found


def find_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of a name; None means the device's default. Raises `SpecError` if unknown."""
    if name is None:
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise SpecError("bad dtype", [f"must be one of {sorted(DTYPES)}, got {name!r}"])
    return DTYPES[name]
