# SPDX-License-Identifier: Apache-2.0
"""Policies that are loaded into processes of their own, and told by their instruction what to do.

What happens in those processes is seen in a folder: a file for each event.
"""

import os
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from toy_policy import PROMPT_KEY, ToyPolicy, toy_observation

DEADLINE_S = 60
JOINED_ROWS = 8


@dataclass(frozen=True)
class LoadToy:
    """Makes a `ToyReplica`, or fails where the folder says so.

    Args:
        folder: For the events.
        joins: Requests are joined.
    """

    folder: str
    joins: bool = False

    def __call__(self) -> "ToyReplica":
        folder = Path(self.folder)
        note(folder, "load")
        if (folder / "broken").exists():
            raise ValueError(f"no weights in {self.folder}")
        capabilities = ("other",) if (folder / "other policy").exists() else ()
        return ToyReplica(folder, self.joins, capabilities)


class ToyReplica(ToyPolicy):
    """Does what the first instruction says: ``hold``, ``die``, ``die once``, ``fail``, ``go``."""

    def __init__(self, folder: Path, joins: bool, capabilities: tuple[str, ...]) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.folder = folder
        self.joins = joins
        self.resets = 0

    @property
    def max_batch_size(self) -> int:
        return JOINED_ROWS if self.joins else 1

    def get_capabilities(self) -> tuple[str, ...]:
        return self.capabilities

    def reset(self, options: dict[str, Any] | None = None) -> dict[str, Any]:
        if options and "bad" in options:
            raise ValueError("a bad option")
        self.resets += 1
        note(self.folder, "reset")
        return {"options": options, "resets": self.resets}

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        action, info = super()._get_action(observation, options)
        assert not any(image.flags.writeable for image in observation["video"].values())
        instructions = [row[0] for row in observation["language"][PROMPT_KEY]]
        note(self.folder, f"call-{len(instructions)}")
        if "hold" in instructions:
            note(self.folder, "held")
            wait_for_file(self.folder / "release")
        if "die" in instructions or ("die once" in instructions and self._first("died")):
            os.kill(os.getpid(), signal.SIGKILL)
        if "fail" in instructions:
            raise ValueError("this one fails")
        return action, {**info, "pid": os.getpid(), "prompts": instructions}

    def _first(self, name: str) -> bool:
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def observe(instruction: str = "go", seed: int = 0) -> dict[str, Any]:
    """An observation with that instruction."""
    observation = toy_observation()
    generator = np.random.default_rng(seed)
    for key, values in observation["state"].items():
        observation["state"][key] = generator.normal(size=values.shape).astype(np.float32)
    observation["language"][PROMPT_KEY] = [[instruction]]
    return observation


def note(folder: Path, event: str) -> None:
    """Leave a file that tells an event, and in which process it was."""
    (folder / f"{event}.{os.getpid()}.{uuid.uuid4().hex}").touch()


def noted(folder: Path, event: str) -> list[int]:
    """The processes in which an event was, once for each time."""
    return [int(path.name.split(".")[1]) for path in folder.glob(f"{event}.*.*")]


def wait_for_file(path: Path) -> None:
    ends_at = time.monotonic() + DEADLINE_S
    while not path.exists():
        if time.monotonic() > ends_at:
            raise TimeoutError(path.name)
        time.sleep(0.005)
