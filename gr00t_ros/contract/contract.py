# SPDX-License-Identifier: Apache-2.0
"""The contract between a robot and a policy: parameters in, frozen dataclasses out. Pure.

`parse_contract` checks the parameters by themselves and names everything that is wrong at once;
`gr00t_ros.contract.compatibility` compares them with what the policy says about itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gr00t_policy_core.errors import SpecError
from gr00t_ros.contract.checks import contract_problems
from gr00t_ros.contract.entry_checks import type_problems
from gr00t_ros.contract.entry_parameters import IGNORE
from gr00t_ros.contract.limits import limit_problems
from gr00t_ros.contract.motion_settings import MotionSettings
from gr00t_ros.contract.parameter_checks import (
    action_use_problems,
    faulty_names,
    name_problems,
    top_use_problems,
    value_problems,
    without_faulty_entries,
)
from gr00t_ros.contract.parameters import (
    ACTION,
    CHUNK_TOPIC,
    INTERVENTION_TOPIC,
    STATE,
    VIDEO,
    WORKSPACE,
    Entry,
    entries,
    keys_of,
    parameters_for,
    sources_of,
)
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.contract.record_settings import RecordSettings
from gr00t_ros.contract.streams import ActionOutput, StateInput, StateStream, VideoStream
from gr00t_ros.contract.topic_names import TopicNames, in_root_namespace
from gr00t_ros.contract.visualize_settings import VisualizeSettings, visualize_problems
from gr00t_ros.contract.workspaces import WorkspaceSettings, workspace_problems
from gr00t_ros.interfaces.interface import CommandInterface, StateInterface
from gr00t_ros.interfaces.registry import find_command, find_state

Interface = TypeVar("Interface", StateInterface, CommandInterface)


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that the nodes need to know about robot and policy; names contain the units.

    A topic has a single name here, even if the user wrote it in several forms. `ignored` holds the
    actions of the policy that the robot does not use.
    """

    policy: PolicySettings
    instruction: str
    video: tuple[VideoStream, ...]
    state: tuple[StateInput, ...]
    action: tuple[ActionOutput, ...]
    ignored: tuple[str, ...]
    action_rate_hz: float
    control_rate_hz: float
    inference: str
    replan_interval_s: float | None
    task_timeout_s: float
    max_age_s: float
    max_skew_s: float
    chunk_topic: str
    intervention_topic: str
    motion: MotionSettings
    record: RecordSettings
    visualize: VisualizeSettings
    workspaces: tuple[WorkspaceSettings, ...] = ()

    @property
    def action_keys(self) -> tuple[str, ...]:
        """All actions of the policy, commanded and ignored."""
        keys = [key for output in self.action for key in output.keys]
        return (*dict.fromkeys(keys), *self.ignored)

    @property
    def state_streams(self) -> tuple[StateStream, ...]:
        """The streams of all states, in order."""
        return tuple(stream for state in self.state for stream in state.streams)

    @property
    def pose_streams(self) -> dict[str, StateStream]:
        """The stream that measures a pose, by state key; the first of several."""
        return {
            state.key: stream
            for state in self.state
            for stream in reversed(state.streams)
            if stream.interface.measures_pose
        }

    @property
    def streams(self) -> tuple[VideoStream | StateStream, ...]:
        """All observation streams, cameras first."""
        return (*self.video, *self.state_streams)


def parse_contract(
    values: Mapping[str, Any], *, resolve: Callable[[str], str] = in_root_namespace
) -> Contract:
    """Check the parameters and build the contract.

    Args:
        values: The user's parameter values by full name (``video.front.topic``); one that is left
            out takes its default.
        resolve: Returns the full name of a topic, after remapping and within the node's namespace.
            It raises ValueError for a text that is not a topic name.

    Raises:
        SpecError: The parameters are wrong; one sentence for each problem.
    """
    problems = [
        *name_problems(values),
        *type_problems(values),
        *value_problems(values),
        *_missing_modalities(values),
    ]
    if problems:
        problems.extend(_entry_problems(without_faulty_entries(values, problems)))
    else:
        problems.extend(_entry_problems(values))
        problems.extend(_top_problems(values, resolve))
    if problems:
        _refuse(*problems, *_problems_of_the_rest(values, problems, resolve))
    contract = _contract(values, TopicNames(resolve))
    _refuse(*contract_problems(contract))
    return contract


def _top_problems(values: Mapping[str, Any], resolve: Callable[[str], str]) -> Iterator[str]:
    """Yield what is wrong with parameters that are right by themselves, outside of the entries."""
    settings = _settings(values)
    commands, _ = _interfaces(values, ACTION, find_command)
    by_action = [(command, entry.settings(values)) for entry, command in commands]
    yield from top_use_problems(values, settings, by_action)
    yield from visualize_problems(settings)
    yield from TopicNames(resolve).problems(settings)


def _problems_of_the_rest(
    values: Mapping[str, Any], problems: Sequence[str], resolve: Callable[[str], str]
) -> Iterator[str]:
    """Yield how the entries contradict each other in which nothing is wrong by itself.

    What a faulty entry may have been meant to provide is not missed.
    """
    rest, faulty = without_faulty_entries(values, problems), faulty_names(problems)
    kept = {entry.name for entry in entries(rest)}
    left_out = {entry.modality for entry in entries(values) if entry.name not in kept}
    left_out.update(name.partition(".")[0] for name in faulty)
    for problem in contract_problems(_contract(rest, TopicNames(resolve)), left_out=left_out):
        (about,) = faulty_names([problem])
        if not any(f"{name}.".startswith(f"{about}.") for name in faulty):
            yield problem


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    return {p.name: values.get(p.name, p.default) for p in parameters_for(values)}


def _refuse(*problems: str) -> None:
    if problems:
        raise SpecError("bad parameters", list(problems))


def _missing_modalities(values: Mapping[str, Any]) -> Iterator[str]:
    if not keys_of(VIDEO, values) and not keys_of(STATE, values):
        yield "no video.<key>.topic and no state.<key>.topic: nothing to observe"
    if len(_ignored(values)) == len(keys_of(ACTION, values)):
        yield "no action.<key>.topic: nothing to command"


def _ignored(values: Mapping[str, Any]) -> tuple[str, ...]:
    keys = keys_of(ACTION, values)
    return tuple(key for key in keys if values.get(f"{ACTION}.{key}.{IGNORE.name}") is True)


def _interfaces(
    values: Mapping[str, Any], modality: str, find: Callable[[str], type[Interface]]
) -> tuple[list[tuple[Entry, Interface]], list[str]]:
    """Make the interface of each entry of a modality, and a sentence for each contradiction."""
    interfaces: list[tuple[Entry, Interface]] = []
    problems: list[str] = []
    for entry in entries(values):
        if entry.modality != modality or not entry.has_type:
            continue
        settings = entry.settings(values)
        cls = find(settings["type"])
        try:
            interfaces.append((entry, cls({p.name: settings[p.name] for p in cls.parameters})))
        except ValueError as error:
            problems.append(f"{entry.name}: {error}")
    return interfaces, problems


def _entry_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield how entries contradict themselves, whatever is wrong with the rest of the file."""
    _, state_problems = _interfaces(values, STATE, find_state)
    commands, command_problems = _interfaces(values, ACTION, find_command)
    yield from state_problems
    yield from command_problems
    yield from _command_problems(values, commands)
    yield from _workspace_problems(values)


def _command_problems(
    values: Mapping[str, Any], commands: Sequence[tuple[Entry, CommandInterface]]
) -> Iterator[str]:
    for entry, command in commands:
        of_action = entry.settings(values)
        yield from action_use_problems(entry, values, command, of_action)
        for problem in limit_problems(command, of_action):
            yield f"{entry.name}: {problem}"


def _workspace_entries(values: Mapping[str, Any]) -> list[Entry]:
    return [entry for entry in entries(values) if entry.modality == WORKSPACE]


def _workspace_problems(values: Mapping[str, Any]) -> Iterator[str]:
    for entry in _workspace_entries(values):
        for problem in workspace_problems(entry.settings(values)):
            yield f"{entry.name}: {problem}"


def _contract(values: Mapping[str, Any], topics: TopicNames) -> Contract:
    settings = _settings(values)
    states, _ = _interfaces(values, STATE, find_state)
    commands, _ = _interfaces(values, ACTION, find_command)
    chunk_topic = topics.one_name(CHUNK_TOPIC)
    video = tuple(VideoStream.of(key, settings, topics) for key in keys_of(VIDEO, values))
    streams = {
        entry.name: StateStream.of(entry.name, state, settings, topics) for entry, state in states
    }
    return Contract(
        policy=PolicySettings.of(settings, _camera_sizes(video)),
        instruction=settings["instruction"],
        video=video,
        state=tuple(
            StateInput(key, tuple(streams[name] for name in _stream_names(key, values)))
            for key in keys_of(STATE, values)
        ),
        action=tuple(
            ActionOutput.of(
                entry.name.removeprefix(f"{ACTION}."),
                command,
                entry.settings(values),
                values,
                topics,
            )
            for entry, command in commands
        ),
        ignored=_ignored(values),
        action_rate_hz=float(settings["action_rate_hz"]),
        control_rate_hz=float(settings["control_rate_hz"]),
        inference=settings["inference"],
        replan_interval_s=float(settings["replan_interval_s"]) or None,
        task_timeout_s=float(settings["task_timeout_s"]),
        max_age_s=float(settings["max_age_s"]),
        max_skew_s=float(settings["max_skew_s"]),
        chunk_topic=chunk_topic,
        intervention_topic=topics.one_name(INTERVENTION_TOPIC),
        motion=MotionSettings.of(settings, topics),
        record=RecordSettings.of(settings, topics),
        visualize=VisualizeSettings.of(settings),
        workspaces=tuple(
            WorkspaceSettings.of(entry.name.removeprefix(f"{WORKSPACE}."), entry.settings(values))
            for entry in _workspace_entries(values)
        ),
    )


def _stream_names(key: str, values: Mapping[str, Any]) -> list[str]:
    name = f"{STATE}.{key}"
    return [f"{name}.{source}" for source in sources_of(key, values)] or [name]


def _camera_sizes(video: Iterable[VideoStream]) -> dict[str, tuple[int, int]]:
    """Return height and width of the cameras whose frames have a fixed size."""
    return {
        stream.key: (stream.height, stream.width)
        for stream in video
        if stream.height is not None and stream.width is not None
    }
