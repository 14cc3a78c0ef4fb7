# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy bench`: the latency of a model, by stage."""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gr00t_policy_core.cli.common import device, positive, refuse_without_effect, write_line
from gr00t_policy_core.cli.model_flags import (
    add_model_flags,
    checkpoint_arguments,
    execution_arguments,
)
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.output_files import write_whole

if TYPE_CHECKING:
    from gr00t_policy_core.models.model_policy import ModelPolicy
    from gr00t_policy_core.policy import Observation

DESCRIPTION = """\
Measure the latency of a model by stage: the median and the 99th percentile. Without a checkpoint
the model has random weights, which take as long."""

SEED = 0
CHECKPOINT_FLAGS = ("embodiment_tag", "backbone_path", "base_model_path", "denoising_steps")
RANDOM_MODEL_FLAGS = ("model", "size", "cameras")


def add_command(commands: Any) -> None:
    """Add `bench` to the subparsers of the program."""
    parser = commands.add_parser(
        "bench", help="measure the latency of a model", description=DESCRIPTION
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "--model", default="n1d7", help="model line, with random weights (default: n1d7)"
    )
    parser.add_argument(
        "--size",
        choices=("auto", "published", "small"),
        default="auto",
        help="size of the model with random weights; auto is small on a CPU (default: auto)",
    )
    parser.add_argument("--model-path", metavar="PATH", help="measure this checkpoint instead")
    parser.add_argument(
        "--embodiment-tag",
        default=EmbodimentTag.NEW_EMBODIMENT,
        metavar="TAG",
        help="embodiment of the checkpoint, name or value (default: new_embodiment)",
    )
    parser.add_argument(
        "--device", type=device, default=None, help="device (default: cuda if there is a GPU)"
    )
    add_model_flags(parser)
    parser.add_argument(
        "--batch",
        type=positive,
        nargs="+",
        default=[1],
        metavar="B",
        help="batch sizes (default: 1)",
    )
    parser.add_argument(
        "--cameras",
        type=positive,
        default=1,
        help="cameras of the model with random weights (default: 1)",
    )
    parser.add_argument("--runs", type=positive, default=50, help="measured calls (default: 50)")
    parser.add_argument(
        "--warm-up", type=positive, default=5, help="calls before the measurement (default: 5)"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="also print each stage's kernels (on a CPU: operators), their times, and the bytes "
        "that they move",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table for each batch size and camera size."""
    if args.model_path is None:
        refuse_without_effect(args, CHECKPOINT_FLAGS, "there is no --model-path")
    else:
        refuse_without_effect(args, RANDOM_MODEL_FLAGS, "--model-path is given")
    if args.json is not None and not args.json.parent.is_dir():
        raise SpecError("bad --json", [f"{args.json.parent} is not a folder"])
    from gr00t_policy_core.models import benchmark
    from gr00t_policy_core.models.common.profiling import profile_table
    from gr00t_policy_core.models.common.synthetic import DEFAULT_IMAGE_SIZE

    policy, what = _policy(args)
    settings = policy.active_settings()
    sizes = args.camera_size or [DEFAULT_IMAGE_SIZE]
    write_line(what)
    write_line(
        ", ".join(f"{name} {value}" for name, value in benchmark.environment(policy).items())
    )
    write_line(", ".join(f"{name} {value}" for name, value in settings.items()))
    batches = []
    for camera, size in itertools.product(sizes, args.batch):
        observation = policy.synthetic_observation(size, camera)
        batch = _measure(policy, observation, args.warm_up, args.runs)
        batch["camera_size"] = list(camera)
        batches.append(batch)
        for line in _table(batch):
            write_line(line)
        if args.profile:
            profiled = benchmark.profile(policy, observation)
            batch["profile"] = [stage.as_json() for stage in profiled]
            for line in profile_table(profiled):
                write_line(line)
    if args.json is not None:
        report = {
            "what": what,
            "environment": benchmark.environment(policy),
            "options": settings,
            "batches": batches,
        }
        write_whole((args.json, json.dumps(report, indent=2) + "\n"))
    return 0


def _measure(
    policy: ModelPolicy, observation: Observation, warm_up: int, runs: int
) -> dict[str, Any]:
    """The times of each stage, after all compilation and captures."""
    from gr00t_policy_core.models import benchmark

    begin = time.perf_counter()
    policy.prepare(observation)
    ready_s = time.perf_counter() - begin
    timings = [
        policy.get_action(observation, {"seed": SEED})[1]["timing"] for _ in range(warm_up + runs)
    ]
    stages = {}
    for stage in timings[0]:
        values_ms = [1e3 * timing[stage] for timing in timings[warm_up:]]
        median, worst = np.percentile(values_ms, [50, 99])
        stages[stage] = {"p50_ms": float(median), "p99_ms": float(worst)}
    return {
        "batch": len(policy.preprocessor.frames(observation)),
        "image_tokens": policy.preprocessor.image_grid(observation).tokens_per_image,
        "runs": runs,
        "ready_s": ready_s,
        "stages": stages,
        "operators": benchmark.count_operators(policy, observation),
    }


def _policy(args: argparse.Namespace) -> tuple[ModelPolicy, str]:
    """The policy to measure, and its description."""
    from gr00t_policy_core.models import Gr00tPolicy
    from gr00t_policy_core.models.common.devices import default_device, find_device, find_dtype
    from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
    from gr00t_policy_core.models.model_policy import ModelPolicy
    from gr00t_policy_core.models.registry import find_random_builder

    device_name = args.device or default_device()
    if args.model_path is not None:
        checkpoint = Gr00tPolicy(
            args.embodiment_tag,
            args.model_path,
            device=device_name,
            **checkpoint_arguments(args),
            **execution_arguments(args),
        )
        return checkpoint, f"{args.model_path}, {checkpoint.embodiment.tag}"
    build = find_random_builder(args.model)
    where = find_device(device_name)
    dtype = find_dtype(args.dtype, where)
    small = args.size == "small" or (args.size == "auto" and where.type == "cpu")
    model = build(small=small, cameras=args.cameras, device=where, dtype=dtype)
    shape = (
        "a SMALL shape, whose times say nothing about the published model"
        if small
        else "the published shape"
    )
    what = f"{args.model} with random weights in {shape}; {args.cameras} camera(s)"
    settings = ExecutionSettings(**execution_arguments(args))
    return ModelPolicy(model, where, dtype, settings, float8=args.dtype == "fp8"), what


def _table(batch: dict[str, Any]) -> Iterator[str]:
    yield ""
    height, width = batch["camera_size"]
    tokens = f"{batch['image_tokens']} tokens per image"
    yield f"batch {batch['batch']}, cameras {height}x{width} ({tokens}), {batch['runs']} runs"
    yield f"{'stage':<10} {'p50 ms':>9} {'p99 ms':>9} {'operators':>10}"
    for stage, times in batch["stages"].items():
        operators = batch["operators"].get(stage, "")
        line = f"{stage:<10} {times['p50_ms']:>9.2f} {times['p99_ms']:>9.2f} {operators:>10}"
        yield line.rstrip()
    yield f"ready after {batch['ready_s']:.2f} s"
