# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy convert`: makes a LeRobot dataset of recorded bags."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.bag_flags import add_bag_flags, lead_steps
from gr00t_policy_core.cli.common import image_size, positive, refuse_without_effect, write_line
from gr00t_policy_core.datasets.dataset_writer import WRITTEN_VERSIONS
from gr00t_policy_core.datasets.video import CODECS, VideoSettings
from gr00t_ros.cli.recorded_robot import robot_of
from gr00t_ros.convert.settings import (
    BLUR_SHARE,
    IDLE_MOTION,
    JUMP_SPEED,
    MIN_LENGTH_S,
    ConversionSettings,
    Filters,
)

if TYPE_CHECKING:
    from gr00t_ros.contract.contract import Contract


def add_command(commands: Any) -> None:
    """Add `convert` to the subparsers of the program."""
    parser = commands.add_parser(
        "convert",
        help="make a LeRobot dataset of recorded bags",
        description="Make a LeRobot dataset of ROS bags, with the observations that the policy "
        "node would build of the same messages. Run it again to go on after an interruption.",
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="a bag, or a folder with bags below it"
    )
    parser.add_argument("--output", required=True, type=Path, help="directory of the new dataset")
    parser.add_argument(
        "--format",
        choices=WRITTEN_VERSIONS,
        default=WRITTEN_VERSIONS[0],
        help=f"format of the dataset; Isaac-GR00T reads v2.1 (default: {WRITTEN_VERSIONS[0]})",
    )
    _add_content_flags(parser)
    _add_video_flags(parser)
    _add_filter_flags(parser)
    _add_process_flags(parser)


def _add_content_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("content")
    add_bag_flags(group)
    group.add_argument("--robot-type", default="", help="name of the robot in meta/info.json")
    group.add_argument(
        "--language-key",
        default="human.task_description",
        metavar="KEY",
        help="the policy's language key without `annotation.` (default: human.task_description)",
    )


def _add_video_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("video")
    group.add_argument("--codec", choices=CODECS, default=CODECS[0], help="default: h264")
    group.add_argument(
        "--quality",
        type=int,
        metavar="CRF",
        help="constant rate factor, 0 is lossless (default: 23 for h264, 30 for av1)",
    )
    group.add_argument(
        "--image-size",
        type=image_size,
        metavar="HEIGHTxWIDTH",
        help="height and width of all videos, pixels (default: as the policy gets the images)",
    )


def _add_filter_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters, each counted in the report")
    group.add_argument(
        "--trim-idle",
        type=positive_float,
        nargs="?",
        const=IDLE_MOTION,
        metavar="MOTION",
        help="rad or m: leave out the beginning and the end of an episode in which no measured or "
        f"commanded position moves by more (without a number: {IDLE_MOTION})",
    )
    group.add_argument(
        "--split-jumps",
        type=positive_float,
        nargs="?",
        const=JUMP_SPEED,
        metavar="SPEED",
        help="rad/s or m/s: split an episode where a measured position changes faster (without a "
        f"number: {JUMP_SPEED:g})",
    )
    group.add_argument(
        "--drop-blurred",
        type=positive_float,
        nargs="?",
        const=BLUR_SHARE,
        metavar="SHARE",
        help="leave out steps with an image less sharp than this share of its camera's median "
        f"(without a number: {BLUR_SHARE})",
    )
    group.add_argument(
        "--drop-failed", action="store_true", help="leave out episodes that are marked as failed"
    )
    group.add_argument(
        "--corrections-only",
        action="store_true",
        help="leave out what the policy drove: each intervention of a person becomes an episode",
    )
    group.add_argument(
        "--lead-in",
        type=positive_float,
        metavar="SECONDS",
        help="with --corrections-only: begin each episode so long before the person took over, "
        "with the policy's actions (default: 0)",
    )
    group.add_argument(
        "--min-length",
        type=positive_float,
        default=MIN_LENGTH_S,
        metavar="SECONDS",
        help="leave out shorter episodes; of a correction, what the person drove counts (default: "
        f"{MIN_LENGTH_S:g})",
    )


def _add_process_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("process")
    group.add_argument(
        "--jobs", type=positive, metavar="N", help="bags at a time (default: one for each CPU)"
    )
    group.add_argument(
        "--restart",
        action="store_true",
        help="convert every bag anew, also those that were done before an interruption",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and print the report; failure if there is no episode."""
    from gr00t_ros.bags.reader import find_bags

    if not args.corrections_only:
        refuse_without_effect(args, ["lead_in"], "it needs --corrections-only")
    bags = find_bags(args.bags)
    robot = robot_of(args, bags)
    settings = _settings(args, robot.contract)
    from gr00t_ros.convert.conversion import convert

    with progress_bar(_total_s(bags)) as progress:
        report = convert(
            bags,
            args.output,
            robot.contract,
            settings,
            version=args.format,
            config=robot.config,
            jobs=args.jobs or os.cpu_count() or 1,
            restart=args.restart,
            progress=progress,
        )
    for line in report.lines():
        write_line(line)
    if not report.steps:
        write_line("no dataset: no bag gave an episode")
        return 1
    write_line(f"wrote {args.output}")
    return 0


@contextmanager
def progress_bar(total_s: float) -> Iterator[Callable[[float], None]]:
    """A progress bar in seconds of recordings, on a terminal with rich; otherwise nothing."""
    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda seconds: None
        return
    columns = (
        TextColumn("converting"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar:
        task = bar.add_task("converting", total=total_s)
        yield lambda seconds: bar.advance(task, seconds)


def positive_float(text: str) -> float:
    """An argparse type: a finite number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number


def _settings(args: argparse.Namespace, contract: Contract) -> ConversionSettings:
    return ConversionSettings(
        lead_steps=lead_steps(args, contract.record.action_lead_steps),
        task=args.task,
        robot_type=args.robot_type,
        language_key=args.language_key,
        image_size=args.image_size,
        video=VideoSettings(args.codec, args.quality),
        filters=_filters(args),
        clock_topic=args.use_clock_topic,
    )


def _filters(args: argparse.Namespace) -> Filters:
    return Filters(
        idle_motion=args.trim_idle,
        jump_speed=args.split_jumps,
        blur_share=args.drop_blurred,
        failed=args.drop_failed,
        min_length_s=args.min_length,
        corrections_only=args.corrections_only,
        lead_in_s=args.lead_in or 0.0,
    )


def _total_s(bags: Sequence[Path]) -> float:
    """The duration of all bags, as far as they can be read, s."""
    from gr00t_policy_core.errors import PolicyError
    from gr00t_ros.bags.reader import Bag

    total_s = 0.0
    for path in bags:
        try:
            total_s += Bag(path).duration_s
        except PolicyError:  # the conversion reports it
            continue
    return total_s
