# SPDX-License-Identifier: Apache-2.0
"""What is kept of the last prompts on the device, bounded by bytes.

Clients whose requests are joined come in any order and company. So rows are kept, each laid out for
the length of its batch, and a batch is put together from them; the batches themselves are kept,
too, since one that comes again need not be sent to a recording again.
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
from gr00t_policy_core.models.common.token_batch import ImageGrid, Tokens, make_token_batch

CACHE_BYTES = 64 * 2**20  # of rows, and as much again of batches

# A row of N1.7 with two cameras has some 250 tokens; what is hidden from whom takes most of it:
# 250 · 250 values of 2 bytes, 125 kB.

PATCH_FIELDS = ("patch_embedding", "patch_cos", "patch_sin")  # the same in all rows


class PromptCache:
    """Lays batches of prompts out on the device, and keeps what it can.

    May be used by several threads.

    Args:
        backbone: Whose tokens they are.
        multiple: Of what the number of tokens of a batch is to be one.
        mask_padding: As `make_token_batch` takes it.
        device: Where to.
        dtype: Of the networks.
        capacity_bytes: Room for rows, and again for batches.
    """

    def __init__(
        self,
        backbone: Backbone,
        multiple: int,
        *,
        mask_padding: bool,
        device: torch.device,
        dtype: torch.dtype,
        capacity_bytes: int = CACHE_BYTES,
    ) -> None:
        self._backbone = backbone
        self._multiple = multiple
        self._mask_padding = mask_padding
        self._device = device
        self._dtype = dtype
        self.rows = TokenCache(capacity_bytes)
        self.batches = TokenCache(capacity_bytes)

    def __call__(self, texts: tuple[str, ...], pictures: ImageGrid) -> Tokens:
        """The tokens of a batch.

        Args:
            texts: The instruction of each row.
            pictures: As `Backbone.prompts` takes it.
        """
        return self.batches.get((texts, pictures), partial(self._batch, texts, pictures))

    def _batch(self, texts: tuple[str, ...], pictures: ImageGrid) -> Tokens:
        prompts = self._backbone.prompts(texts, pictures, self._multiple)
        lengths = prompts.mask.sum(axis=1)
        filled = bool((lengths < prompts.length).any())
        shape = (pictures, prompts.ids.shape[1], prompts.length, filled)
        rows = [
            self.rows.get((text, *shape), partial(self._row, prompts, pictures, filled, i))
            for i, text in enumerate(texts)
        ]
        return join_rows(rows)

    def _row(self, prompts: Prompts, pictures: ImageGrid, filled: bool, i: int) -> Tokens:
        row = Prompts(
            prompts.ids[i : i + 1],
            prompts.mask[i : i + 1],
            prompts.images[i : i + 1],
            prompts.length,
        )
        return make_token_batch(
            row,
            self._backbone.rotary(row, pictures),
            self._backbone.places(pictures),
            mask_padding=self._mask_padding,
            device=self._device,
            dtype=self._dtype,
            filled=filled,
        )


def join_rows(rows: Sequence[Tokens]) -> Tokens:
    """Batches of one row each, laid out for the same length and company, as one batch."""
    if len(rows) == 1:
        return rows[0]
    begin = rows[0].ids.shape[1] * torch.arange(len(rows), device=rows[0].ids.device)[:, None]

    def shifted(places: Sequence[Tensor]) -> Tensor:
        return (torch.stack(list(places)) + begin).flatten()

    def joined(parts: Sequence[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return torch.cat(present) if present else None

    return Tokens(
        ids=torch.cat([row.ids for row in rows]),
        cos=torch.cat([row.cos for row in rows]),
        sin=torch.cat([row.sin for row in rows]),
        images=shifted([row.images for row in rows]),
        text=shifted([row.text for row in rows]),
        causal=joined([row.causal for row in rows]),
        silent=joined([row.silent for row in rows]),
        visible=joined([row.visible for row in rows]),
        text_visible=joined([row.text_visible for row in rows]),
        **{name: getattr(rows[0], name) for name in PATCH_FIELDS},
    )


class TokenCache:
    """The tokens that were used last, as many as fit into so many bytes.

    Args:
        capacity_bytes: Room for them; what is larger by itself is not kept.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._room = capacity_bytes
        self._kept: OrderedDict[Hashable, Tokens] = OrderedDict()
        self._lock = threading.Lock()
        self.used_bytes = 0
        self.made = 0  # how often something had to be made

    def get(self, key: Hashable, make: Callable[[], Tokens]) -> Tokens:
        """What is kept under `key`, else what `make` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        tokens = make()
        with self._lock:
            self.made += 1
            if key not in self._kept and size_bytes(tokens) <= self._room:
                self._kept[key] = tokens
                self.used_bytes += size_bytes(tokens)
            while self.used_bytes > self._room:
                _, dropped = self._kept.popitem(last=False)
                self.used_bytes -= size_bytes(dropped)
        return tokens


def size_bytes(tokens: Tokens) -> int:
    """Memory that they take on their device, but for what the backbone keeps for all."""
    own = (value for name, value in tokens._asdict().items() if name not in PATCH_FIELDS)
    return sum(tensor.numel() * tensor.element_size() for tensor in own if tensor is not None)
