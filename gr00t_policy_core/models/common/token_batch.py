# SPDX-License-Identifier: Apache-2.0
"""The tokens of a batch, with the masks, positions and tables that follow from them.

All of it is made on the host, once for each prompt, because it depends neither on the values of
images nor on states. So the networks neither compute a mask nor read a size back from the device,
and inputs that do not change between two calls are not copied there again.
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
    """The image tokens of a row; they follow from the size of the camera frames.

    Args:
        count: Images of each row: cameras times time steps.
        rows: Tokens of each image, from top to bottom.
        columns: Tokens of each image, from left to right.
    """

    count: int
    rows: int
    columns: int

    @property
    def tokens_per_image(self) -> int:
        """Tokens of one image."""
        return self.rows * self.columns


class PatchPositions(NamedTuple):
    """The positions of an image's patches for the vision tower, on the device.

    Args:
        embedding: The learned position embedding, resized to the image: (1, patches, width).
        cos: Cosines of the rotary embedding, float32 (patches, 1, 1, head_dim); None for a tower
            without one.
        sin: Sines of the rotary embedding, of the same shape. The first half is negated, as the
            rotation of halves needs it.
    """

    embedding: Tensor
    cos: Tensor | None
    sin: Tensor | None


class TokenBatch(NamedTuple):
    """The tokens of a batch, on the device. Rows are padded on the left, the batch on the right.

    A *bias* is added to attention scores: 0, or -inf where a key is hidden. It is None where
    nothing is hidden.

    Args:
        ids: Token ids, int64 (B, S).
        cos: Cosines of the rotary embedding, (B or 1, S, 1, head_dim).
        sin: Sines of the rotary embedding, of the same shape. The first half is negated, as the
            rotation of halves needs it.
        image_positions: int64 indices of the image tokens in the flattened batch of B · S tokens.
        text_positions: int64 indices of all other tokens there.
        causal_bias: Bias of the language model, (B, 1, S, S); None where only later tokens are
            hidden.
        padding_mask: True for left padding, bool (B, S, 1, 1): the language model's attention gives
            zeros there. None where there is none.
        token_bias: Bias of attention to all tokens, (B, 1, 1, S).
        text_bias: Bias of attention to text tokens, (B, 1, 1, text tokens of a row).
        patch_embedding: The `embedding` of the images' `PatchPositions`.
        patch_cos: The `cos` of the images' `PatchPositions`.
        patch_sin: The `sin` of the images' `PatchPositions`.
    """

    ids: Tensor
    cos: Tensor
    sin: Tensor
    image_positions: Tensor
    text_positions: Tensor
    causal_bias: Tensor | None
    padding_mask: Tensor | None
    token_bias: Tensor | None
    text_bias: Tensor | None
    patch_embedding: Tensor
    patch_cos: Tensor | None
    patch_sin: Tensor | None

    @property
    def patch_positions(self) -> PatchPositions:
        """The positions of the images' patches."""
        return PatchPositions(self.patch_embedding, self.patch_cos, self.patch_sin)


def make_token_batch(
    prompts: Prompts,
    rotary: tuple[Tensor, Tensor],
    patch_positions: PatchPositions,
    *,
    mask_padding: bool,
    device: torch.device,
    dtype: torch.dtype,
    is_padded: bool | None = None,
) -> TokenBatch:
    """Compute the masks and positions of a batch's tokens, and copy them to the device.

    Args:
        prompts: The tokens of the batch, on the host.
        rotary: Cosines and sines of each token, (B or 1, S, head_dim).
        patch_positions: The positions of the patches of each image.
        mask_padding: Hide the left padding of rows from all attention. The reference hides it from
            the language model and from an alternating DiT only. The right padding of the batch is
            always hidden.
        device: The device of the networks.
        dtype: The dtype of the networks, which tables and biases get.
        is_padded: Whether any row of the whole batch has left padding, if `prompts` are a part of
            it; None if they are the whole batch.
    """
    mask = prompts.mask
    rows, length = mask.shape
    right_padding = np.arange(length) >= prompts.length
    left_padding = ~mask & ~right_padding
    if is_padded is None:
        is_padded = bool(left_padding.any())
    hides_some = is_padded or right_padding.any()
    hidden = ~mask if mask_padding else np.broadcast_to(right_padding, mask.shape)
    columns = np.stack([np.flatnonzero(~row) for row in prompts.image_mask])
    text_hidden = np.take_along_axis(~mask, columns, axis=1)
    row_begin = length * np.arange(rows)[:, None]

    def bias(hidden: NDArray[np.bool_]) -> Tensor:
        values = torch.zeros(hidden.shape, dtype=dtype)
        return send(values.masked_fill_(torch.from_numpy(np.array(hidden)), -torch.inf))

    def send(values: Tensor | NDArray[np.generic]) -> Tensor:
        tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
        return to_device(tensor, device)

    cos, sin = rotary
    half = sin.shape[-1] // 2
    signed_sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    hides_tokens = right_padding.any() or (is_padded and mask_padding)
    return TokenBatch(
        ids=send(prompts.ids),
        cos=send(cos[:, :, None].to(dtype)),
        sin=send(signed_sin[:, :, None].to(dtype)),
        image_positions=send(np.flatnonzero(prompts.image_mask)),
        text_positions=send((row_begin + columns).reshape(-1)),
        causal_bias=bias(_causal_or_padding(left_padding)) if is_padded else None,
        padding_mask=send(left_padding[:, :, None, None])
        if is_padded and not mask_padding
        else None,
        token_bias=bias(hidden[:, None, None]) if hides_tokens else None,
        text_bias=bias(text_hidden[:, None, None]) if hides_some else None,
        patch_embedding=patch_positions.embedding,
        patch_cos=patch_positions.cos,
        patch_sin=patch_positions.sin,
    )


def _causal_or_padding(padding: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The keys that are hidden from each token: bool (B, 1, S, S).

    A token always sees itself, even as padding: where all keys are hidden, some kernels give NaN.
    """
    length = padding.shape[1]
    hidden = ~np.tri(length, dtype=np.bool_)[None, None] | padding[:, None, None]
    hidden[:, :, np.arange(length), np.arange(length)] = False
    return hidden
