# SPDX-License-Identifier: Apache-2.0
"""The flags of a local model, which `serve` and `bench` share. This module needs no torch."""

from __future__ import annotations

import argparse
from typing import Any

from gr00t_policy_core.cli.common import image_size, positive

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
    """Add the flags of a model to a parser or a group of it."""
    parser.add_argument(
        "--backbone-path",
        metavar="PATH",
        help="folder of the backbone's tokenizer and configuration files, or a copy of the "
        "Isaac-GR00T repository (default: the Hugging Face hub and its local cache)",
    )
    parser.add_argument(
        "--base-model-path",
        metavar="PATH",
        help="base model of a LeRobot checkpoint or a LoRA adapter (default: the one that the "
        "checkpoint names)",
    )
    parser.add_argument(
        "--denoising-steps",
        type=positive,
        metavar="STEPS",
        help="denoising steps of the action head (default: the checkpoint's number)",
    )
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="dtype of the model (default: bfloat16, on a CPU float32); fp8 is bfloat16 with the "
        "layers in float8 that keep the actions within twice the error of bfloat16",
    )
    parser.add_argument(
        "--camera-size",
        type=image_size,
        action="extend",
        nargs="+",
        default=[],
        metavar="HEIGHTxWIDTH",
        help="height and width of camera frames, pixels: the model warms up for them before the "
        "first request; give one for each kind of robot (default: 480x640)",
    )
    parser.add_argument(
        "--mask-padding",
        action="store_true",
        help="hide padding from all attention, so that rows of a batch do not affect each other "
        "(see docs/how-to/run-a-model.md)",
    )
    parser.add_argument(
        "--cuda-graphs",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="capture the networks as CUDA graphs and replay them (default: on a GPU)",
    )
    parser.add_argument(
        "--device-images",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="resize images on the device, with the same bits (default: on a GPU)",
    )
    parser.add_argument(
        "--compile",
        choices=COMPILE_MODES,
        help="compile the networks with torch.compile: a fifth faster, but slower to start (see "
        "docs/how-to/run-a-model.md)",
    )


def checkpoint_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `Gr00tPolicy` that select and read a checkpoint."""
    return {
        "dtype": args.dtype,
        "backbone_path": args.backbone_path,
        "base_model_path": args.base_model_path,
        "num_inference_timesteps": args.denoising_steps,
    }


def execution_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `ExecutionSettings`, which `Gr00tPolicy` takes too."""
    return {
        "mask_padding": args.mask_padding,
        "cuda_graphs": args.cuda_graphs,
        "compile": args.compile,
        "device_images": args.device_images,
    }
