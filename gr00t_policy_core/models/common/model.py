# SPDX-License-Identifier: Apache-2.0
"""What a line of GR00T has to bring: the seam between `Gr00tPolicy` and the folders beside it.

A line is a folder of `gr00t_policy_core.models`, named as the ``model_type`` of its config.json in
snake case (``Gr00tN1d7``: ``gr00t_n1d7``), whose package has three functions: `load`, a `Loader`,
`random_model`, a `RandomBuilder`, and `examine`, an `Inspector`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.config import HeadConfig
from gr00t_policy_core.models.common.embodiment import Embodiment
from gr00t_policy_core.models.common.head import ActionHead
from gr00t_policy_core.models.common.image_processing import ImagePipeline
from gr00t_policy_core.models.common.prompts import Prompts
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, Tokens
from gr00t_policy_core.resize import Frame


class Backbone(Protocol):
    """The vision-language model of a line, and how its inputs are made."""

    network: Any  # its modules, with their weights
    float8_layers: str  # regular expression of the names of the layers that float8 may have

    @property
    def pipeline(self) -> ImagePipeline:
        """What the checkpoint does to frames first."""

    def pictures(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        """Camera frames, resized: uint8 (pictures, H, W, 3); within a row by time, then by camera.

        On the host; `pipeline` must make one size of all frames that there are.
        """

    def images_on_device(self, frames: Tensor) -> Tensor:
        """The same of frames of one size, uint8 (N, H, W, 3), bit by bit, on their device."""

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        """The tokens of so many pictures that `pipeline` made height x width.

        Raises:
            SpecError: The backbone reads no pictures of that shape.
        """

    def places(self, pictures: ImageGrid) -> PatchPositions:
        """Where the patches of such a picture are; made once for each grid, and kept."""

    def pixels(self, pictures: Tensor) -> Tensor:
        """Pictures to what the vision tower reads: float32, of the backbone's own layout."""

    def prompts(self, texts: Sequence[str], pictures: ImageGrid, multiple: int = 1) -> Prompts:
        """The instruction of each row to tokens, with room for its pictures.

        Args:
            texts: The instructions.
            pictures: Of each row.
            multiple: Of what the number of tokens is to be one.
        """

    def rotary(self, prompts: Prompts, pictures: ImageGrid) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the tokens' positions, on the host: (B or 1, S, head_dim) each."""

    def features(self, pictures: Tensor, tokens: Tokens) -> Tensor:
        """What the action head attends to: (B, S, backbone_embedding_dim).

        On the device; nothing is read back, and no shape depends on a value.
        """


@dataclass(frozen=True, slots=True)
class Model:
    """A backbone and an action head, with their weights."""

    embodiment: Embodiment
    backbone: Backbone
    head: ActionHead


class Loader(Protocol):
    """Builds a line's model; all checks come before the first weight is read."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        tag: str,
        *,
        device: torch.device,
        dtype: torch.dtype,
        backbone_path: str | Path | None,
    ) -> Model: ...


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a line makes of a checkpoint's files, without its weights.

    Args:
        head: The shape of the action head.
        embodiment_ids: The line's own numbering of robots.
        pipeline: What becomes of camera frames first.
        backbone_name: What config.json calls the backbone.
        backbone_problem: Why the backbone's files are not here and how to get them, None where
            they are.
        tokens: Rows and columns of tokens that a picture of height and width becomes after
            `pipeline`; None without the backbone's files.
        unused: Regular expression of the tensors that are not loaded.
    """

    head: HeadConfig
    embodiment_ids: Mapping[str, int]
    pipeline: ImagePipeline
    backbone_name: str
    backbone_problem: str | None
    tokens: Callable[[int, int], tuple[int, int]] | None
    unused: str


class Inspector(Protocol):
    """Reads a line's files but for the weights."""

    def __call__(self, checkpoint: Checkpoint, backbone_path: str | Path | None) -> Inspection: ...


class RandomBuilder(Protocol):
    """Builds a line's model with random weights, to measure how fast it is."""

    def __call__(
        self, *, small: bool, cameras: int, device: torch.device, dtype: torch.dtype
    ) -> Model:
        """The published shape, or a small one of the same make."""
