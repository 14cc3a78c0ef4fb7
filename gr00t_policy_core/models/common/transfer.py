# SPDX-License-Identifier: Apache-2.0
"""From the host to the device, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values there; to a GPU through pinned memory, in its queue, so that the host goes on.

    torch keeps the pinned memory until the copy is done, and gives it to the next call.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)
