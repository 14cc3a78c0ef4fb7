# SPDX-License-Identifier: Apache-2.0
"""Which sizes the frames of a robot's cameras may have."""

from __future__ import annotations

from collections.abc import Mapping

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.models.common.image_processing import ImagePipeline
from gr00t_policy_core.resize import MAX_ASPECT, MAX_SIDE, Size, is_readable

ADVICE = (
    "the model reads pictures of one size only: give all cameras frames of one shape "
    "(on the policy node: `width` and `height` of each video input)"
)


def check_camera_sizes(sizes: Mapping[str, Size], pipeline: ImagePipeline) -> Size:
    """The size that `pipeline` makes of every camera's frames.

    Args:
        sizes: Height and width of the frames by camera, pixels.
        pipeline: Of the checkpoint.

    Raises:
        SpecError: Naming each camera: where sizes differ after the pipeline, and where a frame is
            too large or too narrow for any model.
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
        f"video.{key}: {_text(size)} pixels; a side may have {MAX_SIDE} at most, and {MAX_ASPECT} "
        "times the other"
    )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
