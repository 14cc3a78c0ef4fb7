# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint is and whether it can be run here, found out without reading its weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gr00t_policy_core.errors import CheckpointError, PolicyError
from gr00t_policy_core.models.common.camera_sizes import check_camera_sizes
from gr00t_policy_core.models.common.checkpoint import Checkpoint
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint
from gr00t_policy_core.models.common.embodiment import Embodiment
from gr00t_policy_core.models.common.image_processing import AreaCrop, BicubicCrop, BilinearCrop
from gr00t_policy_core.models.common.loading import load_embodiment
from gr00t_policy_core.models.common.model import Inspection
from gr00t_policy_core.models.common.normalization import MeanStd, MinMax, Normalization
from gr00t_policy_core.models.registry import find_inspector, find_line

Size = tuple[int, int]

STACK = re.compile(r"action_head\.(state_encoder|action_encoder|action_decoder)\..*\.(W|b)")
FULL_TURN_RAD = 2 * math.pi
PERCENT = 101.0  # with a little room above 100
LARGEST_DEGREES = 400.0


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The values of one key in the training data, as far as statistics tell.

    Args:
        key: Its name.
        dim: Values a step.
        low: The lowest of each, None where the key has no bounds; physical units.
        high: The highest of each.
        note: What is special about it: RELATIVE, sine and cosine.
    """

    key: str
    dim: int
    low: np.ndarray | None
    high: np.ndarray | None
    note: str = ""

    @property
    def unit_hint(self) -> str | None:
        """``degrees`` or ``percent`` where the range looks like that."""
        if self.low is None or self.high is None:
            return None
        low, high = float(self.low.min()), float(self.high.max())
        largest = max(abs(low), abs(high))
        if low >= -5.0 and 10.0 < high <= PERCENT:
            return "percent"
        if FULL_TURN_RAD < largest <= LARGEST_DEGREES:
            return "degrees"
        return "neither rad nor m" if largest > LARGEST_DEGREES else None


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What becomes of frames of one size.

    Args:
        frame: Height and width, pixels.
        result: After the checkpoint's own pipeline.
        tokens: Of one picture; None where the backbone's files are needed to tell.
    """

    frame: Size
    result: Size
    tokens: int | None


@dataclass(frozen=True, slots=True)
class EmbodimentReport:
    """One embodiment tag.

    Args:
        tag: Its name.
        embodiment: What the checkpoint knows about it, None where that is incomplete.
        problem: Why it cannot be driven, None where it can.
    """

    tag: str
    embodiment: Embodiment | None
    problem: str | None


class CheckpointReport:
    """What can be told of one checkpoint without reading its weights.

    Args:
        model_path: As `Gr00tPolicy` takes it.
        base_model_path: The base model of a LeRobot checkpoint or an adapter, as `Gr00tPolicy`
            takes it.
        backbone_path: Folder of the backbone's own files, as `Gr00tPolicy` takes it.

    Raises:
        CheckpointError: Naming every file that is missing, and how to get them; or what else keeps
            it from being opened.
        SpecError: Its settings are none.
    """

    def __init__(
        self,
        model_path: str | Path,
        base_model_path: str | Path | None = None,
        backbone_path: str | Path | None = None,
    ) -> None:
        try:
            self.checkpoint: Checkpoint = open_checkpoint(
                model_path, base_model_path=base_model_path, backbone_path=backbone_path
            )
        except CheckpointError as error:
            missing = missing_files(Path(model_path).expanduser())
            if not missing:
                raise
            raise CheckpointError(
                Path(model_path), f"lacks {', '.join(missing)}; {HOW_TO_GET}. {error}"
            ) from error
        self.line = str(find_line(self.checkpoint.config.get("model_type")))
        self.facts: Inspection = find_inspector(self.checkpoint)(self.checkpoint, backbone_path)

    def values(self) -> int:
        """How many weights are loaded, of one robot."""
        unused = re.compile(self.facts.unused)
        return sum(
            math.prod(stored.shape) // (stored.shape[0] if STACK.fullmatch(name) else 1)
            for name, stored in self.checkpoint.tensors.items()
            if not unused.fullmatch(name)
        )

    def files(self) -> list[Path]:
        """That hold the weights."""
        stored = {tensor.file for tensor in self.checkpoint.tensors.values()}
        for pair in self.checkpoint.lora.values():
            stored |= {pair.a.file, pair.b.file}
        return sorted(stored)

    def robots(self) -> list[EmbodimentReport]:
        """Every tag of the checkpoint."""
        configs = self.checkpoint.processor.get("modality_configs")
        return [self._robot(tag) for tag in sorted(configs if isinstance(configs, dict) else {})]

    def _robot(self, tag: str) -> EmbodimentReport:
        try:
            embodiment = load_embodiment(
                self.checkpoint, tag, self.facts.embodiment_ids, self.facts.head
            )
        except PolicyError as error:
            return EmbodimentReport(tag, None, str(error))
        return EmbodimentReport(tag, embodiment, None)

    def pictures(self, frames: Sequence[Size]) -> list[ImageReport]:
        """What becomes of frames of these sizes.

        Raises:
            SpecError: A size that no model reads.
        """
        found = []
        for frame in frames:
            result = check_camera_sizes({"frame": frame}, self.facts.pipeline)
            tokens = None if self.facts.tokens is None else math.prod(self.facts.tokens(*result))
            found.append(ImageReport(frame, result, tokens))
        return found

    def pipeline_text(self) -> str:
        """The way of pictures in words."""
        pipeline = self.facts.pipeline
        box = "letter box, " if getattr(pipeline, "letter_box", False) else ""
        if isinstance(pipeline, AreaCrop):
            kept = "" if box else "aspect kept, "
            return (
                f"{box}{kept}shorter side {pipeline.edge}, {pipeline.fraction:.3g} of it kept "
                "(OpenCV's area interpolation)"
            )
        if isinstance(pipeline, BilinearCrop):
            return (
                f"{box}squeezed to {_text(pipeline.target)}, {_text(pipeline.crop)} of it kept "
                "(torch's bilinear interpolation)"
            )
        if isinstance(pipeline, BicubicCrop):
            edge = _text((pipeline.edge, pipeline.edge))
            return (
                f"{box}squeezed to {edge}, {pipeline.fraction:.3g} of it kept, then "
                f"{_text(pipeline.target)} (LeRobot's bicubic interpolation)"
            )
        return "as they come"


HOW_TO_GET = (
    "take them from where the checkpoint was trained, or fetch them with `hf download OWNER/NAME "
    "--include '*.json'`"
)
ISAAC_FILES = ("config.json", "processor_config.json", "statistics.json")
LEROBOT_FILES = ("config.json", "policy_preprocessor.json", "policy_postprocessor.json")


def missing_files(folder: Path) -> list[str]:
    """Which JSON files a checkpoint lacks; empty where it lacks none, or is no folder."""
    if not folder.is_dir() or (folder / "adapter_config.json").exists():
        return []
    names = [file.name for at in (".", "processor") for file in (folder / at).glob("*.json")]
    if not names or "config.json" not in names:
        return []
    is_lerobot = any(name.startswith("policy_") for name in names)
    return [name for name in (LEROBOT_FILES if is_lerobot else ISAAC_FILES) if name not in names]


def state_ranges(embodiment: Embodiment) -> Iterator[KeyRange]:
    """Of each state key."""
    for key in embodiment.states:
        low, high = _bounds(key.normalization)
        yield KeyRange(key.name, key.dim, low, high, "" if low is not None else "sine and cosine")


def action_ranges(embodiment: Embodiment) -> Iterator[KeyRange]:
    """Of each action key; of relative ones the range of the differences."""
    for key in embodiment.actions:
        low, high = _bounds(key.normalization)
        note = ""
        if key.relative is not None:
            note = f"RELATIVE to {key.state_key}, made absolute here"
        yield KeyRange(key.name, key.dim, low, high, note)


def _bounds(normalization: Normalization) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The lowest and highest of each value, over all steps."""
    inner = getattr(normalization, "of", normalization)
    if isinstance(inner, MinMax):
        low, high = inner.low, inner.high
    elif isinstance(inner, MeanStd):
        low, high = inner.mean - 3 * inner.std, inner.mean + 3 * inner.std
    else:
        return None, None
    return np.atleast_2d(low).min(axis=0), np.atleast_2d(high).max(axis=0)


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
