# SPDX-License-Identifier: Apache-2.0
"""From the host to the device, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 256  # bytes: any kernel may read from such an address


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values there; to a GPU through pinned memory, in its queue, so that the host goes on.

    torch keeps the pinned memory until the copy is done, and gives it to the next call.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)


def send(values: Sequence[Tensor | NDArray[Any]], device: torch.device) -> list[Tensor]:
    """All the values there, in one copy: each is copied once on the host, into pinned memory.

    Args:
        values: On the host, of any shapes; arrays are uint8.
        device: Where to.
    """
    shapes = [tuple(value.shape) for value in values]
    dtypes = [value.dtype if isinstance(value, Tensor) else torch.uint8 for value in values]
    sizes = [
        value.numel() * value.element_size() if isinstance(value, Tensor) else value.nbytes
        for value in values
    ]
    begins, end = [], 0
    for size in sizes:
        begins.append(end)
        end += -(-size // ALIGNMENT) * ALIGNMENT
    staged = torch.empty(end, dtype=torch.uint8, pin_memory=device.type == "cuda")

    def parts(buffer: Tensor) -> list[Tensor]:
        return [
            buffer[begin : begin + size].view(dtype).view(shape)
            for begin, size, dtype, shape in zip(begins, sizes, dtypes, shapes, strict=True)
        ]

    for part, value in zip(parts(staged), values, strict=True):
        if isinstance(value, Tensor):
            part.copy_(value)
        else:  # without a tensor of it, which torch warns about where the array is read-only
            part.numpy()[...] = value
    return parts(staged.to(device, non_blocking=True))
