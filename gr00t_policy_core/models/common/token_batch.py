# SPDX-License-Identifier: Apache-2.0
"""What is known of a batch's tokens before a network runs: made on the host, once for each prompt.

Nothing here depends on what pictures show or on states. So the networks find neither a mask to
count nor a size to read back on the device, and what does not change between two calls is not sent
there again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.models.common.prompts import Prompts
from gr00t_policy_core.models.common.transfer import to_device


@dataclass(frozen=True, slots=True)
class ImageGrid:
    """The pictures of a row, as tokens; it follows from the size of the camera frames.

    Args:
        count: Pictures of each row.
        rows: Tokens of each picture, from top to bottom.
        columns: Tokens of each picture, from left to right.
    """

    count: int
    rows: int
    columns: int

    @property
    def tokens_each(self) -> int:
        """Tokens of one picture."""
        return self.rows * self.columns


class PatchPositions(NamedTuple):
    """Where the patches of a picture are, as the vision tower reads it; on the device.

    Args:
        embedding: The learned grid, resized: (1, patches, width).
        cos: Rotary table, float32 (patches, 1, 1, head_dim); None where the tower rotates nothing.
        sin: The same; the first half with the sign that rotating brings.
    """

    embedding: Tensor
    cos: Tensor | None
    sin: Tensor | None


class Tokens(NamedTuple):
    """The tokens of a batch, on the device.

    A *bias* is added to the scores of attention, 0 or -inf; None where nothing is to be hidden.

    Args:
        ids: int64 (B, S): rows are filled up at the beginning, the batch at the end.
        cos: Rotary table, (B or 1, S, 1, head_dim).
        sin: The same; the first half with the sign that rotating brings.
        images: int64, where the tokens of pictures are among B · S, row by row.
        text: int64, where all others are.
        causal: Bias (B, 1, S, S) of the language model; None: the future is all that is hidden.
        silent: bool (B, S, 1, 1), padding that gets nothing from the language model's attention.
        visible: Bias (B, 1, 1, S) of who attends to all tokens.
        text_visible: Bias (B, 1, 1, text tokens of a row) of who attends to text.
        patch_embedding: Of `PatchPositions`, for the pictures of this batch.
        patch_cos: Cosines of `PatchPositions`, for the pictures of this batch.
        patch_sin: Sines of `PatchPositions`, for the pictures of this batch.
    """

    ids: Tensor
    cos: Tensor
    sin: Tensor
    images: Tensor
    text: Tensor
    causal: Tensor | None
    silent: Tensor | None
    visible: Tensor | None
    text_visible: Tensor | None
    patch_embedding: Tensor
    patch_cos: Tensor | None
    patch_sin: Tensor | None

    @property
    def places(self) -> PatchPositions:
        """Where the patches of each picture are."""
        return PatchPositions(self.patch_embedding, self.patch_cos, self.patch_sin)


def make_token_batch(
    prompts: Prompts,
    rotary: tuple[Tensor, Tensor],
    places: PatchPositions,
    *,
    mask_padding: bool,
    device: torch.device,
    dtype: torch.dtype,
    filled: bool | None = None,
) -> Tokens:
    """Put what is known of a batch's tokens on the device.

    Args:
        prompts: The batch.
        rotary: Cosines and sines of each token, (B or 1, S, head_dim).
        places: Where the patches of each picture are.
        mask_padding: Hide what rows are filled up with from all attention. The reference hides it
            from the language model and from an alternating DiT only. What the batch is filled up
            with to a rounder length is always hidden.
        device: Where to.
        dtype: Of the networks.
        filled: Whether any row of the batch is filled up at its beginning, where `prompts` are a
            part of a batch; None where they are all of it.
    """
    mask, images = prompts.mask, prompts.images
    rows, length = mask.shape
    rounded = np.arange(length) >= prompts.length
    fillers = ~mask & ~rounded
    if filled is None:
        filled = bool(fillers.any())
    some_hidden = filled or rounded.any()
    hidden = ~mask if mask_padding else np.broadcast_to(rounded, mask.shape)
    columns = np.stack([np.flatnonzero(~row) for row in images])
    text_hidden = np.take_along_axis(~mask, columns, axis=1)
    begin = length * np.arange(rows)[:, None]

    def bias(hidden: NDArray[np.bool_]) -> Tensor:
        values = torch.zeros(hidden.shape, dtype=dtype)
        return send(values.masked_fill_(torch.from_numpy(np.array(hidden)), -torch.inf))

    def send(values: Tensor | NDArray[np.generic]) -> Tensor:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
        return to_device(tensor, device)

    cos, sin = rotary
    half = sin.shape[-1] // 2
    signed = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    return Tokens(
        ids=send(prompts.ids),
        cos=send(cos[:, :, None].to(dtype)),
        sin=send(signed[:, :, None].to(dtype)),
        images=send(np.flatnonzero(images)),
        text=send((begin + columns).reshape(-1)),
        causal=bias(_future_or_filled(fillers)) if filled else None,
        silent=send(fillers[:, :, None, None]) if filled and not mask_padding else None,
        visible=bias(hidden[:, None, None]) if rounded.any() or (filled and mask_padding) else None,
        text_visible=bias(text_hidden[:, None, None]) if some_hidden else None,
        patch_embedding=places.embedding,
        patch_cos=places.cos,
        patch_sin=places.sin,
    )


def _future_or_filled(filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is hidden from each token: bool (B, 1, S, S).

    Each sees itself, even as padding: where everything is hidden, not every kernel gives a number.
    """
    length = filled.shape[1]
    hidden = ~np.tri(length, dtype=np.bool_)[None, None] | filled[:, None, None]
    hidden[:, :, np.arange(length), np.arange(length)] = False
    return hidden
