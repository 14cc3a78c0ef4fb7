# SPDX-License-Identifier: Apache-2.0
"""The interface between `Gr00tPolicy` and the model lines, such as `gr00t_n1d7`.

A model line is a package in `gr00t_policy_core.models`. Its name is the ``model_type`` of its
config.json in snake case (``Gr00tN1d7``: ``gr00t_n1d7``). It has three functions: `load`, a
`Loader`, `random_model`, a `RandomBuilder`, and `inspect`, an `Inspector`.
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
from gr00t_policy_core.models.common.token_batch import ImageGrid, PatchPositions, TokenBatch
from gr00t_policy_core.resize import Frame


class Backbone(Protocol):
    """The vision-language model of a line, and the preparation of its inputs."""

    network: Any  # the modules, with their weights
    float8_layers: str  # a regular expression of the names of layers that may be float8

    @property
    def pipeline(self) -> ImagePipeline:
        """The checkpoint's own image pipeline, which camera frames pass first."""

    def images(self, rows: Sequence[Sequence[Frame]]) -> Tensor:
        """Resize camera frames on the host.

        Args:
            rows: The frames of each row, by time, then by camera. `pipeline` must give all of them
                one size.

        Returns:
            uint8 (images, H, W, 3), in the same order.
        """

    def images_on_device(self, frames: Tensor) -> Tensor:
        """Resize frames of one size, uint8 (N, H, W, 3), on their device.

        The result has the same bits as that of `images`.
        """

    def grid(self, count: int, height: int, width: int) -> ImageGrid:
        """The image tokens of `count` images that `pipeline` made height x width.

        Raises:
            SpecError: The backbone does not accept images of that shape.
        """

    def patch_positions(self, grid: ImageGrid) -> PatchPositions:
        """The positions of an image's patches, on the device; cached for each grid."""

    def pixels(self, images: Tensor) -> Tensor:
        """The input of the vision tower, float32 in the tower's own layout."""

    def prompts(self, texts: Sequence[str], grid: ImageGrid, multiple: int = 1) -> Prompts:
        """Tokenize the instruction of each row, with its image tokens.

        Args:
            texts: The instruction of each row.
            grid: The images of each row.
            multiple: The number of tokens is padded to a multiple of this.
        """

    def rotary(self, prompts: Prompts, grid: ImageGrid) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the tokens' positions, on the host: (B or 1, S, head_dim) each."""

    def features(self, images: Tensor, tokens: TokenBatch) -> Tensor:
        """Compute the features that the action head attends to, on the device.

        Nothing is read back to the host, and no shape depends on a value.

        Args:
            images: uint8 (images, H, W, 3), from `images` or `images_on_device`.
            tokens: The tokens of the batch.

        Returns:
            (B, S, backbone_embedding_dim).
        """


@dataclass(frozen=True, slots=True)
class Model:
    """A backbone and an action head with their weights, for one embodiment."""

    embodiment: Embodiment
    backbone: Backbone
    head: ActionHead


class Loader(Protocol):
    """Builds the model of one embodiment; it checks all files before it reads the first weight."""

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
    """What a model line reads from a checkpoint's files, without its weights.

    Args:
        head: The shape of the action head.
        embodiment_ids: The line's own index of each embodiment tag, for tags that the checkpoint's
            embodiment_id.json leaves out.
        pipeline: The checkpoint's image pipeline.
        backbone_name: The backbone's name in config.json.
        backbone_problem: Why the backbone's files are not here and how to get them; None if they
            are.
        image_tokens: Rows and columns of tokens of an image, from its height and width after
            `pipeline`; None without the backbone's files.
        unused: A regular expression of the tensors that the model does not load.
    """

    head: HeadConfig
    embodiment_ids: Mapping[str, int]
    pipeline: ImagePipeline
    backbone_name: str
    backbone_problem: str | None
    image_tokens: Callable[[int, int], tuple[int, int]] | None
    unused: str


class Inspector(Protocol):
    """Reads a checkpoint's files except for the weights."""

    def __call__(self, checkpoint: Checkpoint, backbone_path: str | Path | None) -> Inspection: ...


class RandomBuilder(Protocol):
    """Builds a model with random weights, for benchmarks."""

    def __call__(
        self, *, small: bool, cameras: int, device: torch.device, dtype: torch.dtype
    ) -> Model:
        """Build the published shape, or a small one of the same architecture."""
