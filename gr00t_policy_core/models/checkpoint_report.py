# SPDX-License-Identifier: Apache-2.0
"""A report on a checkpoint: what it is, and whether it can run here. It reads no weights."""

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
    """The range of one key's values in the training data, from the checkpoint's statistics.

    Args:
        key: The name of a state or action key.
        dim: Values per step.
        low: Lower bound of each value, float (dim,), in physical units; None for a key without
            bounds. For mean and deviation it is the mean minus three deviations.
        high: Upper bound of each value, as `low`.
        note: How the values are encoded, if not plainly: RELATIVE, or sine and cosine.
    """

    key: str
    dim: int
    low: np.ndarray | None
    high: np.ndarray | None
    note: str = ""

    @property
    def unit_hint(self) -> str | None:
        """``degrees`` or ``percent`` if the range looks like it; None if it looks like SI units."""
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
    """What a camera frame of one size becomes.

    Args:
        frame: Height and width of the frame, pixels.
        result: Height and width after the checkpoint's image pipeline, pixels.
        tokens: Tokens of one image; None without the backbone's files.
    """

    frame: Size
    result: Size
    tokens: int | None


@dataclass(frozen=True, slots=True)
class EmbodimentReport:
    """One embodiment tag of a checkpoint.

    Args:
        tag: The tag, as the checkpoint spells it.
        embodiment: Its keys, horizons and statistics; None if they are incomplete.
        problem: Why a policy cannot drive it; None if a policy can.
    """

    tag: str
    embodiment: Embodiment | None
    problem: str | None


class CheckpointReport:
    """What a checkpoint's files say about it, without reading its weights.

    Args:
        model_path: A folder or an id on the Hugging Face hub, as `Gr00tPolicy` takes it.
        base_model_path: The base model of a LeRobot checkpoint or an adapter, as `Gr00tPolicy`
            takes it.
        backbone_path: The folder of the backbone's own files, as `Gr00tPolicy` takes it.

    Raises:
        CheckpointError: A file is missing or damaged; the message names all missing files, and how
            to get them.
        SpecError: A field of its files has a value that is not supported.
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
        self.inspection: Inspection = find_inspector(self.checkpoint)(
            self.checkpoint, backbone_path
        )

    def weight_count(self) -> int:
        """The number of weights that a policy for one embodiment loads."""
        unused = re.compile(self.inspection.unused)
        return sum(
            math.prod(stored.shape) // (stored.shape[0] if STACK.fullmatch(name) else 1)
            for name, stored in self.checkpoint.tensors.items()
            if not unused.fullmatch(name)
        )

    def weight_files(self) -> list[Path]:
        """The files that hold the weights, sorted."""
        stored = {tensor.file for tensor in self.checkpoint.tensors.values()}
        for pair in self.checkpoint.lora.values():
            stored |= {pair.a.file, pair.b.file}
        return sorted(stored)

    def embodiments(self) -> list[EmbodimentReport]:
        """A report for each embodiment tag of the checkpoint, by tag."""
        configs = self.checkpoint.processor.get("modality_configs")
        tags = sorted(configs if isinstance(configs, dict) else {})
        return [self._embodiment(tag) for tag in tags]

    def _embodiment(self, tag: str) -> EmbodimentReport:
        try:
            embodiment = load_embodiment(
                self.checkpoint, tag, self.inspection.embodiment_ids, self.inspection.head
            )
        except PolicyError as error:
            return EmbodimentReport(tag, None, str(error))
        return EmbodimentReport(tag, embodiment, None)

    def images(self, frames: Sequence[Size]) -> list[ImageReport]:
        """What camera frames of these sizes become.

        Args:
            frames: Height and width of each frame, pixels.

        Raises:
            SpecError: A frame has a size that models do not accept.
        """
        found = []
        image_tokens = self.inspection.image_tokens
        for frame in frames:
            result = check_camera_sizes({"frame": frame}, self.inspection.pipeline)
            tokens = None if image_tokens is None else math.prod(image_tokens(*result))
            found.append(ImageReport(frame, result, tokens))
        return found

    def describe_pipeline(self) -> str:
        """The steps of the image pipeline in words."""
        pipeline = self.inspection.pipeline
        box = "letter box, " if getattr(pipeline, "letter_box", False) else ""
        if isinstance(pipeline, AreaCrop):
            aspect = "" if box else "aspect ratio kept, "
            return (
                f"{box}{aspect}shorter side resized to {pipeline.edge}, center crop of "
                f"{pipeline.fraction:.3g} (OpenCV's area interpolation)"
            )
        if isinstance(pipeline, BilinearCrop):
            return (
                f"{box}resized to {_text(pipeline.target)}, center crop of {_text(pipeline.crop)} "
                "(torch's bilinear interpolation)"
            )
        if isinstance(pipeline, BicubicCrop):
            edge = _text((pipeline.edge, pipeline.edge))
            return (
                f"{box}resized to {edge}, center crop of {pipeline.fraction:.3g}, resized to "
                f"{_text(pipeline.target)} (LeRobot's bicubic interpolation)"
            )
        return "not resized"


HOW_TO_GET = (
    "copy them from where the checkpoint was trained, or run `hf download OWNER/NAME "
    "--include '*.json'`"
)
ISAAC_FILES = ("config.json", "processor_config.json", "statistics.json")
LEROBOT_FILES = ("config.json", "policy_preprocessor.json", "policy_postprocessor.json")


def missing_files(folder: Path) -> list[str]:
    """The JSON files that a checkpoint's folder lacks; empty if `folder` is not a folder."""
    if not folder.is_dir() or (folder / "adapter_config.json").exists():
        return []
    names = [file.name for at in (".", "processor") for file in (folder / at).glob("*.json")]
    if not names or "config.json" not in names:
        return []
    is_lerobot = any(name.startswith("policy_") for name in names)
    return [name for name in (LEROBOT_FILES if is_lerobot else ISAAC_FILES) if name not in names]


def state_ranges(embodiment: Embodiment) -> Iterator[KeyRange]:
    """The range of each state key."""
    for key in embodiment.states:
        low, high = _bounds(key.normalization)
        yield KeyRange(key.name, key.dim, low, high, "" if low is not None else "sine and cosine")


def action_ranges(embodiment: Embodiment) -> Iterator[KeyRange]:
    """The range of each action key; for relative keys the range of the differences."""
    for key in embodiment.actions:
        low, high = _bounds(key.normalization)
        note = ""
        if key.relative is not None:
            note = f"RELATIVE to {key.state_key}, converted to absolute by the policy"
        yield KeyRange(key.name, key.dim, low, high, note)


def _bounds(normalization: Normalization) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Lower and upper bound of each value over all steps, (D,) each; None without bounds."""
    inner = getattr(normalization, "inner", normalization)
    if isinstance(inner, MinMax):
        low, high = inner.low, inner.high
    elif isinstance(inner, MeanStd):
        low, high = inner.mean - 3 * inner.std, inner.mean + 3 * inner.std
    else:
        return None, None
    return np.atleast_2d(low).min(axis=0), np.atleast_2d(high).max(axis=0)


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
