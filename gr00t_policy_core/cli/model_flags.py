# SPDX-License-Identifier: Apache-2.0
"""How a model is run: the flags that `serve` and `bench` have in common. Needs no torch."""

from __future__ import annotations

import argparse
import re
from typing import Any

from gr00t_policy_core.cli.common import positive

DTYPES = ("bfloat16", "float16", "float32", "fp8")
COMPILE_MODES = ("default", "max-autotune")

# The arguments that `add_model_flags` adds.
MODEL_FLAGS = (
    "backbone_path",
    "base_model_path",
    "denoising_steps",
    "dtype",
    "mask_padding",
    "cuda_graphs",
    "compile",
    "device_images",
)


def add_model_flags(parser: Any) -> None:
    """Add the flags."""
    parser.add_argument(
        "--backbone-path",
        metavar="PATH",
        help="the backbone's tokenizer and configuration files: their folder, or a copy of the "
        "Isaac-GR00T repository (default: the Hugging Face hub and its local cache)",
    )
    parser.add_argument(
        "--base-model-path",
        metavar="PATH",
        help="the base model of a checkpoint of LeRobot or of a LoRA adapter (default: the one "
        "that it names)",
    )
    parser.add_argument(
        "--denoising-steps",
        type=positive,
        metavar="STEPS",
        help="of the action head, for one answer (default: as many as the checkpoint says)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the model (default: bfloat16, and float32 on a CPU); fp8: bfloat16, with those "
        "layers in float8 that keep the actions within twice bfloat16's error",
    )
    parser.add_argument(
        "--camera-size",
        type=camera_size,
        action="extend",
        nargs="+",
        default=[],
        metavar="HxW",
        help="heights and widths of the cameras' frames, pixels: the model is made ready for them "
        "before the first request; give one for each kind of robot (default: 480x640)",
    )
    parser.add_argument(
        "--mask-padding",
        action="store_true",
        help="let each row of a batch give what it gives alone (see docs/how-to/run-a-model.md)",
    )
    parser.add_argument(
        "--cuda-graphs",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="replay the networks as CUDA graphs (default: on a GPU)",
    )
    parser.add_argument(
        "--device-images",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="resize pictures on the device; each bit is the same (default: on a GPU)",
    )
    parser.add_argument(
        "--compile",
        choices=COMPILE_MODES,
        help="compile the networks with torch.compile: faster by a fifth, and slower to start "
        "(see docs/how-to/run-a-model.md)",
    )


def checkpoint_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What `Gr00tPolicy` takes of the flags beside `execution_arguments`, to read a checkpoint."""
    return {
        "dtype": args.dtype,
        "backbone_path": args.backbone_path,
        "base_model_path": args.base_model_path,
        "num_inference_timesteps": args.denoising_steps,
    }


def camera_size(text: str) -> tuple[int, int]:
    """Height and width of a camera's frames, as a flag gives them."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be height x width in pixels, for example 480x640, got {text!r}"
        )
    return int(match[1]), int(match[2])


def execution_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What a model's `ExecutionSettings` take of the flags."""
    return {
        "mask_padding": args.mask_padding,
        "cuda_graphs": args.cuda_graphs,
        "compile": args.compile,
        "device_images": args.device_images,
    }
