# SPDX-License-Identifier: Apache-2.0
"""Copies from the host to the device that the host does not wait for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

ALIGNMENT = 256  # bytes: any kernel may read from such an address


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
        part.copy_(value if isinstance(value, Tensor) else _as_tensor(value))
    return parts(staged.to(device, non_blocking=True))


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """A uint8 array as a tensor; of the same memory if it is contiguous, to read it only.

    torch warns about a tensor of a read-only array, such as those from the wire, unless it knows
    the memory only. It copies tensors in several threads, NumPy in one.
    """
    if not array.flags.c_contiguous or not array.size:
        return torch.from_numpy(array.copy())
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.ctypes.data)
    return torch.frombuffer(memory, dtype=torch.uint8).view(array.shape)
