# SPDX-License-Identifier: Apache-2.0
"""Instructions to tokens: cleaned, put into the backbone's chat template, tokenised, padded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gr00t_policy_core.errors import CheckpointError

Ids = NDArray[np.int64]

PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The tokens of a batch, on the host.

    Args:
        ids: int64 (B, S), padded on the left.
        mask: bool (B, S), False where padded.
        images: bool (B, S), True where an image's features stand.
    """

    ids: Ids
    mask: NDArray[np.bool_]
    images: NDArray[np.bool_]

    def causal_mask(self) -> NDArray[np.bool_]:
        """What each token attends to: bool (B, 1, S, S).

        Made here because transformers, given `mask`, makes the host wait for the device to learn
        whether anything is padded.
        """
        length = self.ids.shape[1]
        return np.tri(length, dtype=np.bool_)[None, None] & self.mask[:, None, None, :]


def formalize(prompt: str) -> str:
    """Lower case, without punctuation: how instructions were cleaned for training."""
    return PUNCTUATION.sub("", prompt.lower())


class Tokenizer(Protocol):
    """What a backbone asks of its tokenizer."""

    pad_id: int

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        """The text of a conversation with one message of the user."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""

    def token(self, token_id: int) -> str:
        """How a token is written."""


class ChatTokenizer:
    """The tokenizer of a backbone, Qwen2's in both lines, and its chat template.

    The class is named here because transformers' AutoTokenizer asks on the terminal whether to run
    the code that Eagle's configuration refers to.

    Args:
        folder: The backbone's files.
        templates: Files to look for the template in, best first.

    Raises:
        CheckpointError: No tokenizer or no template is there.
    """

    def __init__(self, folder: Path, templates: Sequence[str]) -> None:
        from transformers import Qwen2TokenizerFast

        try:
            self._tokenizer: Any = Qwen2TokenizerFast.from_pretrained(
                str(folder), local_files_only=True
            )
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(folder, f"no tokenizer can be read from it: {reason}") from error
        self._template = _chat_template(folder, templates)
        self.pad_id = int(self._tokenizer.pad_token_id)

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        """The text of a conversation with one message of the user."""
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": list(content)}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=False,
        )
        return text

    def encode(self, text: str) -> list[int]:
        return [int(token) for token in self._tokenizer(text)["input_ids"]]

    def token(self, token_id: int) -> str:
        """How a token is written."""
        return str(self._tokenizer.convert_ids_to_tokens(token_id))


def pad_left(rows: Sequence[Sequence[int]], pad_id: int, image_id: int) -> Prompts:
    """Rows of different length as one batch, filled up at the beginning."""
    length = max(len(row) for row in rows)
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.bool_)
    for i, row in enumerate(rows):
        ids[i, length - len(row) :] = row
        mask[i, length - len(row) :] = True
    return Prompts(ids, mask, (ids == image_id) & mask)


def place_features(embeddings: Tensor, images: NDArray[np.bool_], features: Tensor) -> Tensor:
    """Put the features of pictures where their tokens are, in order.

    Args:
        embeddings: (B, S, width) of all tokens.
        images: bool (B, S); on the host, so that nobody waits for the device to count them.
        features: (tokens of pictures in the whole batch, width).
    """
    rows, columns = (torch.from_numpy(at).to(embeddings.device) for at in np.nonzero(images))
    return embeddings.index_put((rows, columns), features.to(embeddings.dtype))


def _chat_template(folder: Path, names: Sequence[str]) -> str:
    for name in names:
        file = folder / name
        if not file.exists():
            continue
        text = file.read_text(encoding="utf-8")
        template = json.loads(text).get("chat_template") if file.suffix == ".json" else text
        if isinstance(template, str):
            return template
    raise CheckpointError(folder, f"has no chat template in any of {', '.join(names)}")
