# SPDX-License-Identifier: Apache-2.0
"""Copies from the host to the device that the host does not wait for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 256  # bytes: any kernel may read from such an address
COPY_THREADS = 4
PARALLEL_BYTES = 2**21  # an array of this size is copied by several threads

_copiers = ThreadPoolExecutor(COPY_THREADS, "gr00t-copy")


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device; to a GPU from pinned memory, without waiting for the copy.

    torch keeps the pinned memory until the copy is done, and reuses it for later calls.
    """
    if device.type != "cuda":
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)


def copy_to_device(values: Sequence[Tensor | NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Copy several arrays to the device in one transfer, through one buffer of pinned memory.

    Args:
        values: Tensors of any dtype and numpy arrays of uint8, of any shapes, on the host.
        device: The device of the result.

    Returns:
        A tensor of the same dtype and shape for each value, on the device.
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
        else:  # torch warns about a tensor of a read-only array, so NumPy copies
            _copy(value, part.numpy())
    return parts(staged.to(device, non_blocking=True))


def _copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy an array; one of many frames in several threads, since NumPy releases the GIL."""
    if source.nbytes < PARALLEL_BYTES:
        target[...] = source
        return
    parts = min(len(source), COPY_THREADS)
    sources, targets = np.array_split(source, parts), np.array_split(target, parts)
    list(_copiers.map(np.copyto, targets, sources))
