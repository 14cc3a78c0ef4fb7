# SPDX-License-Identifier: Apache-2.0
"""The sizes that the frames of a robot's cameras may have."""

from __future__ import annotations

from collections.abc import Mapping

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.image_processing import ImagePipeline
from gr00t_policy_core.resize import MAX_ASPECT, MAX_SIDE, Size, is_readable

ADVICE = (
    "the model reads images of one size: give all cameras frames of one shape (on the policy "
    "node: `width` and `height` of each video input)"
)


def check_camera_sizes(sizes: Mapping[str, Size], pipeline: ImagePipeline) -> Size:
    """The one size that every camera's frames have after the pipeline.

    Args:
        sizes: Height and width of the frames of each camera, pixels.
        pipeline: The checkpoint's image pipeline.

    Returns:
        Height and width, pixels.

    Raises:
        SpecError: The sizes after the pipeline differ, or a frame is too large or too narrow for
            any model; the message names the cameras.
    """
    problems = [problem for key, size in sizes.items() if (problem := _frame_problem(key, size))]
    if problems:
        raise SpecError("bad observation", problems)
    results = {key: pipeline.size(*size) for key, size in sizes.items()}
    if len(set(results.values())) > 1:
        listed = ", ".join(
            f"{key} {_text(size)} becomes {_text(results[key])}" for key, size in sizes.items()
        )
        raise SpecError("bad observation", [f"video: {listed}; {ADVICE}"])
    return next(iter(results.values()))


def _frame_problem(key: str, size: Size) -> str | None:
    if is_readable(*size):
        return None
    return (
        f"video.{key}: {_text(size)} pixels; a side may have at most {MAX_SIDE} pixels, and at "
        f"most {MAX_ASPECT} times those of the other"
    )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
