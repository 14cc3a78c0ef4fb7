# SPDX-License-Identifier: Apache-2.0
"""A cache of the last prompts' tokens on the device, bounded by bytes.

A server joins requests of several clients in any order and combination. So the cache keeps rows,
each for the length of its batch, and assembles batches from them. It also keeps whole batches,
because one that comes again need not be copied to a CUDA graph again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor

from gr00t_policy_core.models.common.model import Backbone
from gr00t_policy_core.models.common.prompts import Prompts
from gr00t_policy_core.models.common.token_batch import ImageGrid, TokenBatch, make_token_batch

# For rows, and as much again for batches. A row of N1.7 with two cameras has about 250 tokens, and
# its causal bias takes most of its memory: 250 · 250 values of 2 bytes, 125 kB.
CACHE_BYTES = 64 * 2**20

PATCH_FIELDS = ("patch_embedding", "patch_cos", "patch_sin")  # the same in all rows


class PromptCache:
    """Makes token batches on the device, and keeps the most recently used ones.

    Several threads may call it.

    Args:
        backbone: Tokenizes the instructions.
        length_multiple: The number of tokens of a batch is padded to a multiple of this.
        mask_padding: Hide left padding from all attention, see `make_token_batch`.
        device: The device of the networks.
        dtype: The dtype of the networks.
        capacity_bytes: Device memory for rows, and as much again for batches.
    """

    def __init__(
        self,
        backbone: Backbone,
        length_multiple: int,
        *,
        mask_padding: bool,
        device: torch.device,
        dtype: torch.dtype,
        capacity_bytes: int = CACHE_BYTES,
    ) -> None:
        self._backbone = backbone
        self._length_multiple = length_multiple
        self._mask_padding = mask_padding
        self._device = device
        self._dtype = dtype
        self.rows = TokenCache(capacity_bytes)
        self.batches = TokenCache(capacity_bytes)

    def __call__(self, texts: tuple[str, ...], grid: ImageGrid) -> TokenBatch:
        """The tokens of a batch.

        Args:
            texts: The instruction of each row.
            grid: The images of each row.
        """
        return self.batches.get((texts, grid), partial(self._batch, texts, grid))

    def _batch(self, texts: tuple[str, ...], grid: ImageGrid) -> TokenBatch:
        prompts = self._backbone.prompts(texts, grid, self._length_multiple)
        lengths = prompts.mask.sum(axis=1)
        is_padded = bool((lengths < prompts.length).any())
        shape = (grid, prompts.ids.shape[1], prompts.length, is_padded)
        rows = [
            self.rows.get((text, *shape), partial(self._row, prompts, grid, is_padded, i))
            for i, text in enumerate(texts)
        ]
        return join_rows(rows)

    def _row(self, prompts: Prompts, grid: ImageGrid, is_padded: bool, i: int) -> TokenBatch:
        row = Prompts(
            prompts.ids[i : i + 1],
            prompts.mask[i : i + 1],
            prompts.image_mask[i : i + 1],
            prompts.length,
        )
        return make_token_batch(
            row,
            self._backbone.rotary(row, grid),
            self._backbone.patch_positions(grid),
            mask_padding=self._mask_padding,
            device=self._device,
            dtype=self._dtype,
            is_padded=is_padded,
        )


def join_rows(rows: Sequence[TokenBatch]) -> TokenBatch:
    """Join batches of one row, which were made for the same length and batch, into one batch."""
    if len(rows) == 1:
        return rows[0]
    begin = rows[0].ids.shape[1] * torch.arange(len(rows), device=rows[0].ids.device)[:, None]

    def shifted(positions: Sequence[Tensor]) -> Tensor:
        return (torch.stack(list(positions)) + begin).flatten()

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return torch.cat(present) if present else None

    return TokenBatch(
        ids=torch.cat([row.ids for row in rows]),
        cos=torch.cat([row.cos for row in rows]),
        sin=torch.cat([row.sin for row in rows]),
        image_positions=shifted([row.image_positions for row in rows]),
        text_positions=shifted([row.text_positions for row in rows]),
        causal_bias=joined([row.causal_bias for row in rows]),
        padding_mask=joined([row.padding_mask for row in rows]),
        token_bias=joined([row.token_bias for row in rows]),
        text_bias=joined([row.text_bias for row in rows]),
        **{name: getattr(rows[0], name) for name in PATCH_FIELDS},
    )


class TokenCache:
    """The most recently used token batches, as many as fit into its capacity. Thread-safe.

    Args:
        capacity_bytes: Device memory of the entries; a larger entry is never kept.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._entries: OrderedDict[Hashable, TokenBatch] = OrderedDict()
        self._lock = threading.Lock()
        self.used_bytes = 0
        self.misses = 0

    def get(self, key: Hashable, make: Callable[[], TokenBatch]) -> TokenBatch:
        """The entry of `key`; on a miss, the result of `make`."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        tokens = make()
        with self._lock:
            self.misses += 1
            if key not in self._entries and size_bytes(tokens) <= self._capacity_bytes:
                self._entries[key] = tokens
                self.used_bytes += size_bytes(tokens)
            while self.used_bytes > self._capacity_bytes:
                _, dropped = self._entries.popitem(last=False)
                self.used_bytes -= size_bytes(dropped)
        return tokens


def size_bytes(tokens: TokenBatch) -> int:
    """Device memory of a batch, without the patch positions, which the backbone caches itself."""
    own = (value for name, value in tokens._asdict().items() if name not in PATCH_FIELDS)
    return sum(tensor.numel() * tensor.element_size() for tensor in own if tensor is not None)
