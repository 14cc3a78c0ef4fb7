# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy doctor`: what a checkpoint is, what it needs, and a YAML file to start from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import write_line
from gr00t_policy_core.cli.model_flags import camera_size
from gr00t_policy_core.errors import SpecError

if TYPE_CHECKING:
    from gr00t_policy_core.models.checkpoint_report import (
        CheckpointReport,
        EmbodimentReport,
        KeyRange,
    )
    from gr00t_policy_core.models.common.embodiment import Embodiment

DESCRIPTION = """\
Say what a checkpoint is, which robots it knows, what becomes of their pictures, what is missing and
how much memory it takes. No weight is read. Exit status 1: something is missing."""

USUAL_SIZES = ((480, 640), (720, 1280))  # height and width of frames, pixels
SHOWN_ROBOTS = 3  # of more, only their names are listed


def add_command(commands: Any) -> None:
    """Add `doctor` to the subparsers of the program."""
    parser = commands.add_parser("doctor", help="examine a checkpoint", description=DESCRIPTION)
    parser.set_defaults(run=run)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a folder, or an id on the Hugging Face hub (owner/name or owner/name/folder)",
    )
    parser.add_argument("--embodiment-tag", metavar="TAG", help="only this robot")
    parser.add_argument("--backbone-path", metavar="PATH", help="as `serve` takes it")
    parser.add_argument("--base-model-path", metavar="PATH", help="as `serve` takes it")
    parser.add_argument(
        "--camera-size",
        type=camera_size,
        action="append",
        metavar="HEIGHTxWIDTH",
        help="of the robot's frames; may be given several times (default: 480x640 and 720x1280)",
    )
    parser.add_argument(
        "--yaml", type=Path, metavar="FILE", help="write a configuration of the nodes to start from"
    )


def run(args: argparse.Namespace) -> int:
    """Examine and print."""
    from gr00t_policy_core.models.checkpoint_report import CheckpointReport

    sizes = args.camera_size or USUAL_SIZES
    examined = CheckpointReport(args.checkpoint, args.base_model_path, args.backbone_path)
    robots = _chosen(examined.robots(), args.embodiment_tag)
    for line in _report(examined, robots, sizes):
        write_line(line)
    if args.yaml is not None:
        robot = _one_to_configure(robots)
        text = "\n".join(_yaml(args.checkpoint, robot)) + "\n"
        try:
            with args.yaml.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise SpecError("bad --yaml", [f"{args.yaml} exists already"]) from None
        write_line(f"\nwritten     {args.yaml}: put your topics and joints in where it says CHANGE")
    incomplete = examined.facts.backbone_problem or not any(robot.embodiment for robot in robots)
    return 1 if incomplete else 0


def _chosen(robots: Sequence[EmbodimentReport], tag: str | None) -> list[EmbodimentReport]:
    if tag is None:
        return list(robots)
    chosen = [robot for robot in robots if robot.tag.lower() == tag.strip().lower()]
    if not chosen:
        known = [robot.tag for robot in robots]
        raise SpecError("wrong embodiment tag", [f"{tag!r}; the checkpoint knows {known}"])
    return chosen


def _one_to_configure(robots: Sequence[EmbodimentReport]) -> Embodiment:
    ready = [robot.embodiment for robot in robots if robot.embodiment is not None]
    if len(ready) != 1:
        names = [robot.tag for robot in ready]
        raise SpecError("bad --yaml", [f"choose a robot with --embodiment-tag, of {names}"])
    return ready[0]


def _report(
    examined: CheckpointReport, robots: Sequence[EmbodimentReport], sizes: Sequence[tuple[int, int]]
) -> Iterator[str]:
    from gr00t_policy_core.models.common.files import format_size

    checkpoint, facts, values = examined.checkpoint, examined.facts, examined.values()
    files = examined.files()
    on_disk = format_size(sum(file.stat().st_size for file in files))
    yield f"checkpoint  {checkpoint.folder}"
    yield f"what        {checkpoint.kind}, line {examined.line}"
    yield f"weights     {', '.join(file.name for file in files)}: {on_disk}"
    yield (
        f"memory      {format_size(2 * values)} in bfloat16, {format_size(4 * values)} in float32 for "
        f"{values / 1e6:.3g} million weights, and what an answer computes"
    )
    yield f"denoising   {facts.head.num_inference_timesteps} steps"
    found = "is here" if facts.backbone_problem is None else "MISSING"
    yield f"backbone    {facts.backbone_name}: tokenizer and configuration {found}"
    if facts.backbone_problem is not None:
        yield f"            {facts.backbone_problem}"
    yield f"pictures    {examined.pipeline_text()}"
    for picture in examined.pictures(sizes):
        frame, result = (f"{height}x{width}" for height, width in (picture.frame, picture.result))
        tokens = "tokens unknown" if picture.tokens is None else f"{picture.tokens} tokens"
        yield f"            {frame} becomes {result}: {tokens}"
    yield f"robots      {', '.join(robot.tag for robot in robots) or 'none'}"
    if len(robots) > SHOWN_ROBOTS:
        yield "            --embodiment-tag shows one of them"
        return
    for robot in robots:
        yield ""
        yield from _robot_lines(robot)


def _robot_lines(robot: EmbodimentReport) -> Iterator[str]:
    from gr00t_policy_core.models.checkpoint_report import action_ranges, state_ranges

    yield f"embodiment  {robot.tag}"
    if robot.embodiment is None:
        yield f"            CANNOT BE DRIVEN: {robot.problem}"
        return
    modalities = robot.embodiment.modalities
    video = modalities["video"]
    yield f"  video     {', '.join(video.modality_keys)}; steps {video.delta_indices}"
    yield f"  language  {modalities['language'].modality_keys[0]}"
    yield f"  state     steps {modalities['state'].delta_indices}"
    yield from map(_range_line, state_ranges(robot.embodiment))
    yield f"  action    horizon {robot.embodiment.horizon}"
    yield from map(_range_line, action_ranges(robot.embodiment))


def _range_line(entry: KeyRange) -> str:
    parts = [f"    {entry.key}: {entry.dim} values"]
    if entry.low is not None and entry.high is not None:
        parts.append(f"{entry.low.min():.4g} … {entry.high.max():.4g}")
    if entry.note:
        parts.append(entry.note)
    if entry.unit_hint:
        parts.append(f"looks like {entry.unit_hint}")
    return ", ".join(parts)


def _yaml(checkpoint: str, robot: Embodiment) -> Iterator[str]:
    """A configuration of both nodes, of the policy's own keys; see docs/reference/parameters.md."""
    from gr00t_policy_core.models.checkpoint_report import action_ranges, state_ranges

    hints = {entry.key: entry.unit_hint for entry in state_ranges(robot)}
    configs = robot.modalities
    yield "# Made by `gr00t-policy doctor`: put in what your robot has where it says CHANGE."
    yield "# Every parameter is described in docs/reference/parameters.md."
    yield "/**:"
    yield "  ros__parameters:"
    yield "    policy:"
    yield "      backend: local            # server: a policy server, see host and port"
    yield f"      model_path: {_quoted(checkpoint)}"
    yield f"      embodiment_tag: {_quoted(robot.tag)}"
    yield '    instruction: "do it"        # CHANGE'
    yield "    action_rate_hz: 20.0        # CHANGE: Hz, rate of the data of training"
    yield "    video:"
    for key in configs["video"].modality_keys:
        yield f"      {_quoted(key)}:"
        yield f"        topic: {_quoted(f'/camera/{key}/image_raw')}  # CHANGE"
    yield "    state:"
    for state in robot.states:
        yield f"      {_quoted(state.name)}:"
        pose = _pose_of_state(robot, state.name, state.dim)
        topic = f"/{state.name}/pose" if pose else "/joint_states"
        yield f"        type: {'pose_stamped' if pose else 'joint_state'}"
        yield f"        topic: {_quoted(topic)}  # CHANGE"
        yield from _values(state.name, state.dim, pose)
        yield from _scale(hints.get(state.name), to_policy=True)
    yield "    action:"
    for entry in action_ranges(robot):
        yield f"      {_quoted(entry.key)}:"
        pose = _representation(entry.dim, robot, entry.key)
        topic = f"/{entry.key}/target_pose" if pose else f"/{entry.key}/joint_trajectory"
        yield f"        type: {'pose_stamped' if pose else 'joint_trajectory'}"
        yield f"        topic: {_quoted(topic)}  # CHANGE"
        if pose:
            yield "        frame_id: base_link  # CHANGE"
        yield from _values(entry.key, entry.dim, pose)
        if not _is_measured(robot, entry.key, entry.dim, pose):
            yield "        unmeasured: true  # CHANGE: leave it out where a state measures this"
        hint = entry.unit_hint if not entry.note else hints.get(entry.key)
        yield from _scale(hint, to_policy=False)


def _values(key: str, dim: int, pose: str | None) -> Iterator[str]:
    if pose is not None:
        yield f"        representation: {pose}"
        return
    names = ", ".join(_quoted(f"{key}_{number}") for number in range(1, dim + 1))
    yield f"        joints: [{names}]  # CHANGE: in the order of the training data"


def _is_measured(robot: Embodiment, key: str, dim: int, pose: str | None) -> bool:
    """Whether a state of the file measures what an action commands."""
    state = next((state for state in robot.states if state.name == key), None)
    if state is None:
        return False
    state_pose = _pose_of_state(robot, state.name, state.dim)
    if pose is not None:
        return state_pose is not None
    return state_pose is None and state.dim >= dim


def _pose_of_state(robot: Embodiment, key: str, dim: int) -> str | None:
    """As the relative action that refers to it has it."""
    for action in robot.actions:
        if action.state_key == key and action.relative is not None:
            return _representation(action.dim, robot, action.name)
    return "xyz_rot6d" if dim == 9 else None


def _representation(dim: int, robot: Embodiment, key: str) -> str | None:
    """How the policy writes a pose, None where it is none."""
    relative = next(action.relative for action in robot.actions if action.name == key)
    formats = {9: "xyz_rot6d", 6: "xyz_rotvec"}
    if relative is not None and relative.type.name == "EEF":
        return formats.get(dim)
    return "xyz_rot6d" if dim == 9 else None


def _scale(hint: str | None, *, to_policy: bool) -> Iterator[str]:
    """The policy's units are not ROS's; what is sent is `value * scale`."""
    scales = {
        "degrees": ("57.29577951308232", "0.017453292519943295"),
        "percent": ("100.0", "0.01"),
    }
    if hint in scales:
        factor = scales[hint][0 if to_policy else 1]
        yield f"        scale: {factor}  # CHANGE where the policy's {hint} are none"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
