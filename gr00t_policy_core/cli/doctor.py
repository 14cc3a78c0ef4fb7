# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy doctor`: a report on a checkpoint, and a first configuration of the nodes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import image_size, write_line
from gr00t_policy_core.errors import SpecError

if TYPE_CHECKING:
    from gr00t_policy_core.models.checkpoint_report import (
        CheckpointReport,
        EmbodimentReport,
        KeyRange,
    )
    from gr00t_policy_core.models.common.embodiment import Embodiment

DESCRIPTION = """\
Report a checkpoint's format, embodiments, image processing, missing files, and the memory that it
needs. The command reads no weights. Exit status 1: something is missing."""

USUAL_SIZES = ((480, 640), (720, 1280))  # height and width of frames, pixels
MAX_EMBODIMENTS = 3  # of more embodiments, only the tags are listed


def add_command(commands: Any) -> None:
    """Add `doctor` to the subparsers of the program."""
    parser = commands.add_parser("doctor", help="examine a checkpoint", description=DESCRIPTION)
    parser.set_defaults(run=run)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a folder, or an id on the Hugging Face hub (owner/name or owner/name/folder)",
    )
    parser.add_argument("--embodiment-tag", metavar="TAG", help="report this embodiment only")
    parser.add_argument(
        "--backbone-path", metavar="PATH", help="folder of the backbone's files, as for `serve`"
    )
    parser.add_argument(
        "--base-model-path", metavar="PATH", help="base model of the checkpoint, as for `serve`"
    )
    parser.add_argument(
        "--camera-size",
        type=image_size,
        action="append",
        metavar="HEIGHTxWIDTH",
        help="height and width of the robot's frames, pixels; may be repeated (default: 480x640 "
        "and 720x1280)",
    )
    parser.add_argument(
        "--yaml", type=Path, metavar="FILE", help="write a first configuration of the nodes to FILE"
    )


def run(args: argparse.Namespace) -> int:
    """Print the report, and write the configuration if the command line asks for it."""
    from gr00t_policy_core.models.checkpoint_report import CheckpointReport

    sizes = args.camera_size or USUAL_SIZES
    report = CheckpointReport(args.checkpoint, args.base_model_path, args.backbone_path)
    embodiments = _chosen(report.embodiments(), args.embodiment_tag)
    for line in _report_lines(report, embodiments, sizes):
        write_line(line)
    if args.yaml is not None:
        embodiment = _embodiment_to_configure(embodiments)
        text = "\n".join(_yaml(args.checkpoint, embodiment)) + "\n"
        try:
            with args.yaml.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise SpecError("bad --yaml", [f"{args.yaml} exists already"]) from None
        write_line("")
        write_line(f"written     {args.yaml}: set your topics and joints where it says CHANGE")
    has_embodiment = any(entry.embodiment for entry in embodiments)
    return 1 if report.inspection.backbone_problem or not has_embodiment else 0


def _chosen(embodiments: Sequence[EmbodimentReport], tag: str | None) -> list[EmbodimentReport]:
    if tag is None:
        return list(embodiments)
    chosen = [entry for entry in embodiments if entry.tag.lower() == tag.strip().lower()]
    if not chosen:
        known = [entry.tag for entry in embodiments]
        raise SpecError("wrong embodiment tag", [f"{tag!r}; the checkpoint knows {known}"])
    return chosen


def _embodiment_to_configure(embodiments: Sequence[EmbodimentReport]) -> Embodiment:
    complete = [entry.embodiment for entry in embodiments if entry.embodiment is not None]
    if len(complete) != 1:
        tags = [embodiment.tag for embodiment in complete]
        raise SpecError("bad --yaml", [f"choose one of {tags} with --embodiment-tag"])
    return complete[0]


def _report_lines(
    report: CheckpointReport,
    embodiments: Sequence[EmbodimentReport],
    sizes: Sequence[tuple[int, int]],
) -> Iterator[str]:
    from gr00t_policy_core.models.common.files import format_size

    checkpoint, inspection, weights = report.checkpoint, report.inspection, report.weight_count()
    files = report.weight_files()
    on_disk = format_size(sum(file.stat().st_size for file in files))
    yield f"checkpoint  {checkpoint.folder}"
    yield f"format      {checkpoint.kind}, model line {report.line}"
    yield f"weights     {', '.join(file.name for file in files)}: {on_disk}"
    yield (
        f"memory      {format_size(2 * weights)} in bfloat16, {format_size(4 * weights)} in "
        f"float32 for {weights / 1e6:.3g} million weights, plus the memory of a call"
    )
    yield f"denoising   {inspection.head.num_inference_timesteps} steps"
    found = "found" if inspection.backbone_problem is None else "MISSING"
    yield f"backbone    {inspection.backbone_name}: tokenizer and configuration {found}"
    if inspection.backbone_problem is not None:
        yield f"            {inspection.backbone_problem}"
    yield f"images      {report.describe_pipeline()}"
    for image in report.images(sizes):
        frame, result = (f"{height}x{width}" for height, width in (image.frame, image.result))
        tokens = "tokens unknown" if image.tokens is None else f"{image.tokens} tokens"
        yield f"            {frame} becomes {result}: {tokens}"
    yield f"embodiments {', '.join(entry.tag for entry in embodiments) or 'none'}"
    if len(embodiments) > MAX_EMBODIMENTS:
        yield "            use --embodiment-tag for details of one"
        return
    for entry in embodiments:
        yield ""
        yield from _embodiment_lines(entry)


def _embodiment_lines(report: EmbodimentReport) -> Iterator[str]:
    from gr00t_policy_core.models.checkpoint_report import action_ranges, state_ranges

    yield f"embodiment  {report.tag}"
    if report.embodiment is None:
        yield f"            CANNOT RUN: {report.problem}"
        return
    modalities = report.embodiment.modalities
    video = modalities["video"]
    yield f"  video     {', '.join(video.modality_keys)}; steps {video.delta_indices}"
    yield f"  language  {modalities['language'].modality_keys[0]}"
    yield f"  state     steps {modalities['state'].delta_indices}"
    yield from map(_range_line, state_ranges(report.embodiment))
    yield f"  action    horizon {report.embodiment.horizon}"
    yield from map(_range_line, action_ranges(report.embodiment))


def _range_line(entry: KeyRange) -> str:
    parts = [f"    {entry.key}: {entry.dim} values"]
    if entry.low is not None and entry.high is not None:
        parts.append(f"{entry.low.min():.4g} … {entry.high.max():.4g}")
    if entry.note:
        parts.append(entry.note)
    if entry.unit_hint:
        parts.append(f"looks like {entry.unit_hint}")
    return ", ".join(parts)


def _yaml(checkpoint: str, embodiment: Embodiment) -> Iterator[str]:
    """A configuration of both nodes with the policy's keys; see docs/reference/parameters.md."""
    from gr00t_policy_core.models.checkpoint_report import action_ranges, state_ranges

    hints = {entry.key: entry.unit_hint for entry in state_ranges(embodiment)}
    configs = embodiment.modalities
    yield "# Generated by `gr00t-policy doctor`: set the values of your robot where it says CHANGE."
    yield "# docs/reference/parameters.md describes every parameter."
    yield "/**:"
    yield "  ros__parameters:"
    yield "    policy:"
    yield "      backend: local            # or server, with its host and port"
    yield f"      model_path: {_quoted(checkpoint)}"
    yield f"      embodiment_tag: {_quoted(embodiment.tag)}"
    yield '    instruction: "do it"        # CHANGE'
    yield "    action_rate_hz: 20.0        # CHANGE: rate of the training data, Hz"
    yield "    video:"
    for key in configs["video"].modality_keys:
        yield f"      {_quoted(key)}:"
        yield f"        topic: {_quoted(f'/camera/{key}/image_raw')}  # CHANGE"
    yield "    state:"
    for state in embodiment.states:
        yield f"      {_quoted(state.name)}:"
        pose = _pose_of_state(embodiment, state.name, state.dim)
        topic = f"/{state.name}/pose" if pose else "/joint_states"
        yield f"        type: {'pose_stamped' if pose else 'joint_state'}"
        yield f"        topic: {_quoted(topic)}  # CHANGE"
        yield from _values(state.name, state.dim, pose)
        yield from _scale(hints.get(state.name), to_policy=True)
    yield "    action:"
    for entry in action_ranges(embodiment):
        yield f"      {_quoted(entry.key)}:"
        pose = _representation(entry.dim, embodiment, entry.key)
        topic = f"/{entry.key}/target_pose" if pose else f"/{entry.key}/joint_trajectory"
        yield f"        type: {'pose_stamped' if pose else 'joint_trajectory'}"
        yield f"        topic: {_quoted(topic)}  # CHANGE"
        if pose:
            yield "        frame_id: base_link  # CHANGE"
        yield from _values(entry.key, entry.dim, pose)
        if not pose:
            yield "        max_velocity: 1.0       # CHANGE: rad/s, m/s for what slides"
            yield "        max_acceleration: 5.0   # CHANGE: rad/s², m/s² for what slides"
        if not _is_measured(embodiment, entry.key, entry.dim, pose):
            yield "        unmeasured: true  # CHANGE: remove this if a state measures it"
        hint = entry.unit_hint if not entry.note else hints.get(entry.key)
        yield from _scale(hint, to_policy=False)


def _values(key: str, dim: int, pose: str | None) -> Iterator[str]:
    if pose is not None:
        yield f"        representation: {pose}"
        return
    names = ", ".join(_quoted(f"{key}_{number}") for number in range(1, dim + 1))
    yield f"        joints: [{names}]  # CHANGE: names in the order of the training data"


def _is_measured(embodiment: Embodiment, key: str, dim: int, pose: str | None) -> bool:
    """Whether a state measures what an action commands."""
    state = next((state for state in embodiment.states if state.name == key), None)
    if state is None:
        return False
    state_pose = _pose_of_state(embodiment, state.name, state.dim)
    if pose is not None:
        return state_pose is not None
    return state_pose is None and state.dim >= dim


def _pose_of_state(embodiment: Embodiment, key: str, dim: int) -> str | None:
    """The pose representation of a state, from a relative action that refers to it; else None."""
    for action in embodiment.actions:
        if action.state_key == key and action.relative is not None:
            return _representation(action.dim, embodiment, action.name)
    return "xyz_rot6d" if dim == 9 else None


def _representation(dim: int, embodiment: Embodiment, key: str) -> str | None:
    """The policy's pose representation of an action key; None for a key that is not a pose."""
    relative = next(action.relative for action in embodiment.actions if action.name == key)
    formats = {9: "xyz_rot6d", 6: "xyz_rotvec"}
    if relative is not None and relative.type.name == "EEF":
        return formats.get(dim)
    return "xyz_rot6d" if dim == 9 else None


def _scale(hint: str | None, *, to_policy: bool) -> Iterator[str]:
    """The line of `scale` for a policy in degrees or percent: the node sends `value * scale`."""
    scales = {
        "degrees": ("57.29577951308232", "0.017453292519943295"),
        "percent": ("100.0", "0.01"),
    }
    if hint in scales:
        factor = scales[hint][0 if to_policy else 1]
        yield f"        scale: {factor}  # CHANGE if the policy's values are not in {hint}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
