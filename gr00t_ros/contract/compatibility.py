# SPDX-License-Identifier: Apache-2.0
"""Whether a robot and a policy are compatible: the contract and what the policy needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.modality import ActionRepresentation, ModalityConfig
from gr00t_policy_core.policy import ABSOLUTE_ACTIONS
from gr00t_ros.contract.contract import Contract
from gr00t_ros.contract.parameters import ACTION, STATE, VIDEO
from gr00t_ros.contract.streams import ActionOutput, StateInput
from gr00t_ros.contract.suggestions import did_you_mean

MANGLED = (
    "ROS gives a block another name after one whose name has a dot: write each parameter of such "
    "keys as one line"
)
IGNORE_REMEDY = "write `ignore: true` below it where the robot has no use for it"


def check_compatibility(
    contract: Contract,
    configs: Mapping[str, ModalityConfig],
    dimensions: Mapping[str, Mapping[str, int]],
    *,
    capabilities: Sequence[str] = (),
) -> None:
    """Compare the contract with the policy's own description of its keys.

    Args:
        contract: Describes what the robot observes and commands.
        configs: The policy's keys by modality, as `BasePolicy.get_modality_config`.
        dimensions: Values per step of the policy's keys, ``{"state": {key: D}, "action": …}``,
            if known: stock servers do not send them.
        capabilities: The other abilities of the policy, as `BasePolicy.get_capabilities`.

    Raises:
        SpecError: Contract and policy differ; one sentence for each mismatch.
    """
    problems = [
        *_key_problems(VIDEO, [video.key for video in contract.video], configs),
        *_key_problems(STATE, [state.key for state in contract.state], configs),
        *_key_problems(ACTION, contract.action_keys, configs),
        *_state_dimension_problems(contract.state, dimensions.get(STATE, {})),
        *_action_dimension_problems(contract.action, dimensions.get(ACTION, {})),
        *_representation_problems(contract, configs.get(ACTION), capabilities),
    ]
    language = configs.get("language")
    if contract.instruction and not (language is not None and language.modality_keys):
        problems.append("instruction: the policy takes no instruction; leave it out")
    if problems:
        raise SpecError("the parameters do not match the policy", problems)


def _key_problems(
    modality: str, given: Sequence[str], configs: Mapping[str, ModalityConfig]
) -> Iterator[str]:
    config = configs.get(modality)
    expected = config.modality_keys if config is not None else []
    for key in expected:
        if key not in given:
            remedy = f"; {IGNORE_REMEDY}" if modality == ACTION else ""
            yield f"{modality}.{key}: no topic given{remedy}"
    for key in sorted(set(given).difference(expected)):
        is_mangled = any(key.endswith(f".{one}") for one in expected)
        hint = f"; {MANGLED}" if is_mangled else did_you_mean(key, expected, f"{modality}.")
        yield f"{modality}.{key}: the policy has no such key, it has {list(expected)}{hint}"


def _state_dimension_problems(
    states: Iterable[StateInput], dimensions: Mapping[str, int]
) -> Iterator[str]:
    for state in states:
        expected, dimension = dimensions.get(state.key), state.dimension
        if expected is not None and dimension not in (None, expected):
            yield f"{state.name} has {_values(dimension)}, the policy expects {expected}"


def _action_dimension_problems(
    actions: Iterable[ActionOutput], dimensions: Mapping[str, int]
) -> Iterator[str]:
    for output in actions:
        if any(key not in dimensions for key in output.keys):
            continue
        answered = sum(dimensions[key] for key in output.keys)
        beyond = [index for index in output.select if index >= answered]
        if beyond:
            yield (
                f"{output.name}: select has {beyond}, the policy answers values 0 to "
                f"{answered - 1} of {', '.join(output.keys)}"
            )
        elif not output.select and output.dimension not in (None, answered):
            yield f"{output.name} has {_values(output.dimension)}, the policy expects {answered}"


def _values(count: int | None) -> str:
    return "1 value" if count == 1 else f"{count} values"


def undeclared_actions(contract: Contract, configs: Mapping[str, ModalityConfig]) -> list[str]:
    """Return the position actions whose values the policy does not declare absolute."""
    config = configs.get(ACTION)
    if config is None or config.action_configs is not None:
        return []
    return [output.name for output in contract.action if not output.interface.holds_zero]


def _representation_problems(
    contract: Contract, config: ModalityConfig | None, capabilities: Sequence[str]
) -> Iterator[str]:
    """Reject relative steps as positions: they would throw the arm towards zero.

    Isaac-GR00T's policies call an action RELATIVE where they were trained on relative steps, add
    the state back themselves, and do not say so. Only the values that a policy returns count here.
    """
    if config is None or config.action_configs is None:
        return
    representations = {
        key: action.rep
        for key, action in zip(config.modality_keys, config.action_configs, strict=True)
    }
    for output in contract.action:
        reps = [representations.get(key) for key in output.keys]
        if ActionRepresentation.DELTA in reps and not output.interface.holds_zero:
            yield (
                f"{output.name}: the policy answers DELTA steps, which are not positions; use "
                "twist, twist_stamped, or float64_multi_array with when_holding: zero"
            )
        if ActionRepresentation.RELATIVE in reps and ABSOLUTE_ACTIONS not in capabilities:
            yield (
                f"{output.name}: the policy answers RELATIVE steps, measured from the state of the "
                f"observation; it has to add that state itself, and to say so by the capability "
                f"{ABSOLUTE_ACTIONS!r}"
            )
