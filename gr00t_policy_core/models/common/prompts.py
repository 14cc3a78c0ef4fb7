# SPDX-License-Identifier: Apache-2.0
"""Instructions to tokens: cleaned, put into the backbone's chat template, tokenised, padded."""

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

# UTF-8, some 300 words. A token has at least one byte, so this bounds tokens as well: of 5,000 of
# them, the table of what is hidden from whom would take 50 MB in each request.
MAX_INSTRUCTION_BYTES = 2048

PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class Prompts:
    """The tokens of a batch, on the host.

    Args:
        ids: int64 (B, S), filled up at the beginning of each row, and at the end of all.
        mask: bool (B, S), False where filled up.
        images: bool (B, S), True where an image's features stand.
        length: Of the longest row; what comes after is there to make S a round number.
    """

    ids: Ids
    mask: NDArray[np.bool_]
    images: NDArray[np.bool_]
    length: int


def formalize(prompt: str) -> str:
    """Lower case, without punctuation: how instructions were cleaned for training."""
    return PUNCTUATION.sub("", prompt.lower())


def length_problem(instruction: str) -> str | None:
    """Why an instruction is too long to be read, None where it is not."""
    length = len(instruction.encode("utf-8", "surrogatepass"))
    if length <= MAX_INSTRUCTION_BYTES:
        return None
    return (
        f"an instruction has {length} bytes of UTF-8, at most {MAX_INSTRUCTION_BYTES} are read: "
        f"shorten {instruction[:30]!r}…"
    )


def check_image_tokens(
    tokens: Sequence[int], image_id: int, expected: int, instruction: str
) -> None:
    """Raise `SpecError` where an instruction brought tokens of pictures that it has none of.

    Args:
        tokens: Of the whole prompt.
        image_id: The token of pictures.
        expected: How often it must be there.
        instruction: For the error.
    """
    if tokens.count(image_id) != expected:
        raise SpecError(
            "bad observation",
            [
                "the instruction holds the text that stands for a picture in the prompt, "
                f"take it out: {instruction!r:.80}"
            ],
        )


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
        except Exception as error:  # a damaged file makes it ask for protobuf, among other things
            reason = " ".join(str(error).split())
            raise CheckpointError(
                folder, f"no tokenizer can be read from it, is a file damaged? {reason}"
            ) from error
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
        """The tokens of a text, composed (NFC) before.

        Qwen's own tokenizer composes. transformers 5 always builds it so, 4.57 only where
        tokenizer.json says it.
        """
        composed = unicodedata.normalize("NFC", text)
        return [int(token) for token in self._tokenizer(composed)["input_ids"]]

    def token(self, token_id: int) -> str:
        """How a token is written."""
        return str(self._tokenizer.convert_ids_to_tokens(token_id))


def pad(rows: Sequence[Sequence[int]], pad_id: int, image_id: int, multiple: int = 1) -> Prompts:
    """Rows of different length as one batch.

    Args:
        rows: The tokens of each; shorter ones are filled up at the beginning.
        pad_id: With what.
        image_id: The token of pictures.
        multiple: Of what the length of the batch is to be one; it is filled up at the end, where
            nothing that comes before can see it.
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
