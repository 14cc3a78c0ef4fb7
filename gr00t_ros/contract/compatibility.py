# SPDX-License-Identifier: Apache-2.0
"""Whether a robot fits a policy: the contract against what the policy says of itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionRepresentation, ModalityConfig
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_ros.contract.contract import ActionOutput, Contract, StateStream
from gr00t_ros.contract.parameters import ACTION, STATE, VIDEO
from gr00t_ros.contract.suggestions import did_you_mean

MANGLED = (
    "ROS gives a block another name after one whose name has a dot: write each parameter of such "
    "keys as one line"
)


def hold_against(
    contract: Contract,
    configs: Mapping[str, ModalityConfig],
    dimensions: Mapping[str, Mapping[str, int]],
    *,
    capabilities: Sequence[str] = (),
) -> None:
    """Hold the contract against what the policy says of itself, key by key.

    Args:
        contract: The robot's side.
        configs: The policy's modality configs.
        dimensions: Values per step of the policy's keys, ``{"state": {key: D}, "action": …}``;
            what is not in it cannot be checked (stock servers do not tell).
        capabilities: Of the policy, as `BasePolicy.get_capabilities`.

    Raises:
        SpecError: With one sentence for everything that does not fit.
    """
    problems = [
        problem
        for modality, entries in (
            (VIDEO, contract.video),
            (STATE, contract.state),
            (ACTION, contract.action),
        )
        for problem in _key_problems(modality, {e.key for e in entries}, configs.get(modality))
    ]
    for entry in (*contract.state, *contract.action):
        modality = STATE if isinstance(entry, StateStream) else ACTION
        expected = dimensions.get(modality, {}).get(entry.key)
        if expected is not None and entry.dimension not in (None, expected):
            problems.append(f"{entry.name} has {_size(entry)}, the policy expects {expected}")
    problems.extend(_representation_problems(contract, configs.get(ACTION), capabilities))
    language = configs.get("language")
    if contract.instruction and not (language is not None and language.modality_keys):
        problems.append("instruction: the policy takes no instruction; leave it out")
    if problems:
        raise SpecError("the parameters do not fit the policy", problems)


def _key_problems(modality: str, given: set[str], config: ModalityConfig | None) -> Iterator[str]:
    expected = config.modality_keys if config is not None else []
    for key in expected:
        if key not in given:
            yield f"{modality}.{key}: no topic given"
    for key in sorted(given.difference(expected)):
        is_mangled = any(key.endswith(f".{one}") for one in expected)
        hint = f"; {MANGLED}" if is_mangled else did_you_mean(key, expected, f"{modality}.")
        yield f"{modality}.{key}: the policy has no such key, it has {list(expected)}{hint}"


def untold_actions(contract: Contract, configs: Mapping[str, ModalityConfig]) -> list[str]:
    """The commands of positions whose values the policy does not call absolute, or anything."""
    config = configs.get(ACTION)
    if config is None or config.action_configs is not None:
        return []
    return [output.name for output in contract.action if not output.holds_zero]


def _representation_problems(
    contract: Contract, config: ModalityConfig | None, capabilities: Sequence[str]
) -> Iterator[str]:
    """A step from somewhere is no position: published as one it would throw the arm towards zero.

    Isaac-GR00T's policies call an action RELATIVE that they were trained on as such; they add the
    state back themselves, and say nothing of it. Here it counts what a policy answers.
    """
    if config is None or config.action_configs is None:
        return
    representations = {
        key: action.rep
        for key, action in zip(config.modality_keys, config.action_configs, strict=True)
    }
    for output in contract.action:
        rep = representations.get(output.key)
        if rep is ActionRepresentation.DELTA and not output.holds_zero:
            yield (
                f"{output.name}: the policy answers DELTA steps, which are no positions; use "
                "twist_stamped, or float64_multi_array with when_holding: zero"
            )
        if rep is ActionRepresentation.RELATIVE and ABSOLUTE_ACTIONS not in capabilities:
            yield (
                f"{output.name}: the policy answers RELATIVE steps, measured from the state of the "
                f"observation; it has to add that state itself, and to say so by the capability "
                f"{ABSOLUTE_ACTIONS!r}"
            )


def _size(entry: StateStream | ActionOutput) -> str:
    dimension = entry.dimension or 0
    noun = "joint" if entry.joints else "value"
    return f"{dimension} {noun}{'' if dimension == 1 else 's'}"
