# SPDX-License-Identifier: Apache-2.0
"""Instructions to tokens: clean, apply the backbone's chat template, tokenize, pad."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gr00t_policy_core.errors import CheckpointError, SpecError

Ids = NDArray[np.int64]

# UTF-8, about 300 words. A token has at least one byte, so this bounds the tokens too: the causal
# bias of 5,000 tokens would take 50 MB for each request.
MAX_INSTRUCTION_BYTES = 2048

PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The tokens of a batch, on the host.

    Args:
        ids: Token ids, int64 (B, S). Rows are padded on the left to the longest one, and all of
            them on the right to the length multiple.
        mask: The attention mask, bool (B, S): False for padding.
        image_mask: bool (B, S), True for image tokens.
        length: Tokens of the longest row: S without the padding on the right.
    """

    ids: Ids
    mask: NDArray[np.bool_]
    image_mask: NDArray[np.bool_]
    length: int


def formalize(prompt: str) -> str:
    """Lower case without punctuation, as instructions were cleaned for training."""
    return PUNCTUATION.sub("", prompt.lower())


def length_problem(instruction: str) -> str | None:
    """Why an instruction is too long; None if it is not."""
    length = len(instruction.encode("utf-8", "surrogatepass"))
    if length <= MAX_INSTRUCTION_BYTES:
        return None
    return (
        f"an instruction may have {MAX_INSTRUCTION_BYTES} bytes of UTF-8, this one has {length}: "
        f"shorten {instruction[:30]!r}…"
    )


def check_image_tokens(
    tokens: Sequence[int], image_id: int, expected: int, instruction: str
) -> None:
    """Raise `SpecError` for an instruction that itself contains the text of an image token.

    Args:
        tokens: The token ids of the whole prompt.
        image_id: The id of the image token.
        expected: The number of image tokens that the images alone give.
        instruction: The instruction, which the error quotes.
    """
    if tokens.count(image_id) != expected:
        raise SpecError(
            "bad observation",
            [
                "the instruction contains the text of an image token, remove it: "
                f"{instruction!r:.80}"
            ],
        )


class Tokenizer(Protocol):
    """The methods of a tokenizer that a backbone calls."""

    pad_id: int

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        """The chat template, applied to one message of the user."""

    def encode(self, text: str) -> list[int]:
        """The token ids of a text."""

    def token(self, token_id: int) -> str:
        """The text of a token."""


class ChatTokenizer:
    """The tokenizer of a backbone, Qwen2's in both lines, and its chat template.

    It names the tokenizer's class, because transformers' AutoTokenizer asks on the terminal whether
    it may run the code that Eagle's configuration refers to.

    Args:
        folder: The folder with the backbone's tokenizer files.
        templates: File names of the chat template, in order of preference.

    Raises:
        CheckpointError: The folder has no readable tokenizer, or no chat template.
    """

    def __init__(self, folder: Path, templates: Sequence[str]) -> None:
        from transformers import Qwen2TokenizerFast

        try:
            self._tokenizer: Any = Qwen2TokenizerFast.from_pretrained(
                str(folder), local_files_only=True
            )
        except Exception as error:  # a damaged file makes it ask for protobuf, among other things
            reason = " ".join(str(error).split())
            raise CheckpointError(
                folder, f"its tokenizer cannot be read, a file may be damaged: {reason}"
            ) from error
        self._template = _chat_template(folder, templates)
        self.pad_id = int(self._tokenizer.pad_token_id)

    def chat(self, content: Sequence[dict[str, str]]) -> str:
        """The chat template, applied to one message of the user."""
        text: str = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": list(content)}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=False,
        )
        return text

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, after Unicode normalization (NFC).

        Qwen's own tokenizer normalizes. transformers 5 always builds it so, 4.57 only if
        tokenizer.json says so.
        """
        composed = unicodedata.normalize("NFC", text)
        return [int(token) for token in self._tokenizer(composed)["input_ids"]]

    def token(self, token_id: int) -> str:
        """The text of a token."""
        return str(self._tokenizer.convert_ids_to_tokens(token_id))


def pad(rows: Sequence[Sequence[int]], pad_id: int, image_id: int, multiple: int = 1) -> Prompts:
    """Pad rows of different lengths to one batch.

    Args:
        rows: The token ids of each row; shorter rows are padded on the left.
        pad_id: The id of the padding token.
        image_id: The id of the image token.
        multiple: The batch is padded on the right to a multiple of this length; causal attention
            hides that padding from all other tokens.
    """
    length = max(len(row) for row in rows)
    shape = (len(rows), -(-length // multiple) * multiple)
    ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.bool_)
    for i, row in enumerate(rows):
        ids[i, length - len(row) : length] = row
        mask[i, length - len(row) : length] = True
    return Prompts(ids, mask, (ids == image_id) & mask, length)


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
