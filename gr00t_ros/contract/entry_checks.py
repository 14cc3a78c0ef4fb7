# SPDX-License-Identifier: Apache-2.0
"""Checks the types of states and actions, and finds parameters of other types. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gr00t_ros.contract.entry_parameters import SOURCES, TYPE
from gr00t_ros.contract.parameter import Parameter
from gr00t_ros.contract.parameters import STATE, Entry, common_parameters, entries, types_of
from gr00t_ros.interfaces.registry import UnknownTypeError, find_command, find_state

MISNAMED_TYPE = "interface"  # what a user may call the type


def type_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each entry whose type is missing or unknown."""
    for entry in entries(values):
        if entry.has_sources:
            yield from _source_problems(entry, values)
        problem = _type_problem(entry, values) if entry.has_type else ""
        if problem:
            yield f"{entry.name}.{TYPE.name}{problem}"


def is_of_another_entry(entry: Entry, field: str, values: Mapping[str, Any]) -> bool:
    """Whether other entries of the same modality may have a parameter that this one lacks."""
    if field == MISNAMED_TYPE and entry.has_type:
        return not values.get(f"{entry.name}.{TYPE.name}")
    common = {parameter.name for parameter in common_parameters(entry.modality)}
    return (field in common and not entry.has_type) or bool(_types_with(entry.modality, field))


def misplacement_problems(entry: Entry, field: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a parameter has no effect in this entry; nothing if the type is wrong.

    A parameter that asks for nothing (false, 0, an empty text or list) is accepted.
    """
    name = f"{entry.name}.{field}"
    if not values[name]:
        return
    if entry.is_ignored:
        yield f"{name}: has no effect here, the key is ignored; leave it out"
    elif entry.has_sources:
        source = values[f"{entry.name}.{SOURCES.name}"][0]
        yield (
            f"{name}: has no effect here, the state has sources; write it for each of them, such "
            f"as {entry.name}.{source}.{field}"
        )
    elif not _type_problem(entry, values):
        types = " or ".join(_types_with(entry.modality, field))
        yield f"{name}: has no effect here, only with type: {types}; leave it out"


def _source_problems(entry: Entry, values: Mapping[str, Any]) -> Iterator[str]:
    sources = values[f"{entry.name}.{SOURCES.name}"]
    repeated = sorted({name for name in sources if sources.count(name) > 1})
    if repeated:
        yield f"{entry.name}.{SOURCES.name}: repeats {repeated}"


def _type_problem(entry: Entry, values: Mapping[str, Any]) -> str:
    name = values.get(f"{entry.name}.{TYPE.name}", "")
    if not name:
        return f" is missing: write {_type_to_write(entry, values)}"
    if not isinstance(name, str):
        return f": must be text, got {name!r}"
    try:
        cls = find_state(name) if entry.modality == STATE else find_command(name)
    except UnknownTypeError as error:
        return f": {error}"
    common = {parameter.name for parameter in common_parameters(entry.modality)}
    clashing = sorted(common.intersection(parameter.name for parameter in cls.parameters))
    if clashing:
        return (
            f": {name} has parameters that every {entry.modality} has, call them something else: "
            f"{', '.join(clashing)}"
        )
    return ""


def _type_to_write(entry: Entry, values: Mapping[str, Any]) -> str:
    """Return the lines to choose from: one for each type that accepts the entry's parameters."""
    types = types_of(entry.modality)
    misnamed = values.get(f"{entry.name}.{MISNAMED_TYPE}")
    if isinstance(misnamed, str) and misnamed in types:
        return f"`type: {misnamed}`"
    prefix = f"{entry.name}."
    own = {name for cls in types.values() for name in (p.name for p in cls.parameters)}
    given = own.intersection(n.removeprefix(prefix) for n in values if n.startswith(prefix))
    accepting = [name for name, cls in types.items() if _accepts(cls.parameters, given)]
    return " or ".join(f"`type: {name}`" for name in accepting or types)


def _accepts(parameters: Sequence[Parameter], given: set[str]) -> bool:
    """Whether the parameters include all given names, and the given names all required ones."""
    required = {parameter.name for parameter in parameters if parameter.required}
    return required <= given <= {parameter.name for parameter in parameters}


def _types_with(modality: str, field: str) -> list[str]:
    types = types_of(modality).items()
    return [name for name, cls in types if field in {p.name for p in cls.parameters}]
