# SPDX-License-Identifier: Apache-2.0
"""From the host to the device, without waiting for it."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values there; to a GPU through pinned memory, in its queue, so that the host goes on.

    torch keeps the pinned memory until the copy is done, and gives it to the next call.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)


def frames_to_device(frames: NDArray[Any], device: torch.device) -> Tensor:
    """Frames, uint8 of any shape, there: copied once on the host, into pinned memory for a GPU."""
    staged = torch.empty(frames.shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    staged.numpy()[...] = frames
    return staged.to(device, non_blocking=True)
