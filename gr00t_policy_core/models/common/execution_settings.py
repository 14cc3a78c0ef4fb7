# SPDX-License-Identifier: Apache-2.0
"""How the networks are executed: CUDA graphs, compilation, image resizing, padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.compiled import check_mode


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """How the networks are executed. Actions differ by rounding only, except for `mask_padding`.

    Args:
        mask_padding: Hide padding from all attention, so that a row's actions do not depend on the
            other rows of its batch. See `make_token_batch`.
        cuda_graphs: Capture each function as a CUDA graph for each set of input shapes, and replay
            it. None means: on a GPU.
        compile: One of `gr00t_policy_core.models.common.compiled.MODES`; None does not compile.
        device_images: Resize images on the device, with the same bits as on the host. None means:
            on a GPU.
    """

    mask_padding: bool = False
    cuda_graphs: bool | None = None
    compile: str | None = None
    device_images: bool | None = None

    def resolved(self, device: torch.device) -> ExecutionSettings:
        """The same settings, with None replaced by its meaning on that device."""
        on_gpu = device.type == "cuda"
        return replace(
            self,
            cuda_graphs=on_gpu if self.cuda_graphs is None else self.cuda_graphs,
            device_images=on_gpu if self.device_images is None else self.device_images,
        )


def check_settings(settings: ExecutionSettings, device: torch.device) -> None:
    """Raise `SpecError` for CUDA graphs without a GPU, or for an unknown compilation mode."""
    check_mode(settings.compile)
    if settings.cuda_graphs and device.type != "cuda":
        raise SpecError("bad setting", [f"CUDA graphs need a GPU, the device is {device}"])


def batch_sizes(max_rows: int) -> tuple[int, ...]:
    """The sizes that batches of up to `max_rows` rows are padded to: 1, 2, 4, …, `max_rows`."""
    return (*(2**i for i in range((max_rows - 1).bit_length())), max_rows)
