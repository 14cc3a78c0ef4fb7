# SPDX-License-Identifier: Apache-2.0
"""How the networks are run: what can be chosen, and what a device makes of what is not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.compiled import check_mode


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """How the networks are run; what comes out is the same but for rounding.

    Args:
        mask_padding: Let each row of a batch give what it gives alone; see `make_token_batch`.
        cuda_graphs: Record each function as a CUDA graph for each set of shapes, and replay it.
            None: where the device is a GPU.
        compile: One of `gr00t_policy_core.models.common.compiled.MODES`; None compiles nothing.
        device_images: Resize pictures on the device; each bit is the same. None: where the device
            is a GPU.
    """

    mask_padding: bool = False
    cuda_graphs: bool | None = None
    compile: str | None = None
    device_images: bool | None = None

    def resolved(self, device: torch.device) -> ExecutionSettings:
        """The same with what None means on that device."""
        on_gpu = device.type == "cuda"
        return replace(
            self,
            cuda_graphs=on_gpu if self.cuda_graphs is None else self.cuda_graphs,
            device_images=on_gpu if self.device_images is None else self.device_images,
        )


def check_settings(settings: ExecutionSettings, device: torch.device) -> None:
    """Raise `SpecError` for CUDA graphs without a GPU, or an unknown mode of compilation."""
    check_mode(settings.compile)
    if settings.cuda_graphs and device.type != "cuda":
        raise SpecError("bad setting", [f"CUDA graphs need a GPU, the device is {device}"])


def batch_sizes(most: int) -> tuple[int, ...]:
    """What batches of up to so many rows are filled up to: 1, 2, 4, 8, …, and `most`."""
    return (*(2**i for i in range((most - 1).bit_length())), most)
