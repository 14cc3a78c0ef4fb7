# SPDX-License-Identifier: Apache-2.0
"""Explains what is wrong with a parameter file. Pure.

rcl reads parameter files with a parser of its own, which accepts less than YAML allows and explains
little. This module reads a file only to explain it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from gr00t_ros.contract.parameters import BLOCKS

PARAMETERS = "ros__parameters"
FLAG = "--params-file"
# A part of rcl's error, and what the user can do about it.
REMEDIES = {
    "before ros__parameters": f"write the parameters under `/**:` and, below that, `{PARAMETERS}:`",
    "No value": 'a name has no value: write "" for an empty text, or leave the name out',
    "same type": "a list must hold values of one type: names in quotes, and 1.0 among numbers",
    "Sequences": "a list must hold single values: no list and no block within it",
}


class _Loader(yaml.BaseLoader):
    """Refuses the YAML that ROS refuses or silently drops.

    Every value is text regardless of its tag: launch tags the values that it writes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._refuse("ROS accepts no anchors and aliases (& and *), write the value out", None)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        blocks: dict[Any, bool] = {}
        for key, value in node.value:
            is_block = isinstance(value, yaml.MappingNode)
            if not (is_block and blocks.setdefault(key.value, is_block)):
                if key.value in blocks:
                    self._refuse(f"{key.value} is given twice", key.start_mark)
                blocks[key.value] = is_block
        return node

    def _refuse(self, why: str, mark: Any) -> None:
        place = mark or self.peek_event().start_mark
        raise yaml.composer.ComposerError(None, None, why, place)


@dataclass(frozen=True, slots=True)
class Section:
    """The parameters that a file gives to one node name, such as ``/**``.

    Args:
        node: The node name, which may be a pattern.
        values: The blocks under `ros__parameters`, as they are written.
    """

    node: str
    values: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The full names of the parameters."""
        return [name for name, _ in _flat(self.values)]


def files_in(arguments: Sequence[str]) -> list[Path]:
    """The parameter files that the arguments of a process name."""
    return [Path(path) for flag, path in pairwise(arguments) if flag == FLAG]


def why_unreadable(path: Path, rcl_error: str = "") -> str:
    """Explain why ROS cannot read a file, and what to do; empty if nothing is found.

    Args:
        path: The parameter file, in YAML.
        rcl_error: The text of rcl's error, if there is one.
    """
    try:
        _load(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        return f"{path} is not UTF-8: {error}"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        what = "; ".join(text for text in (error.context, error.problem) if text)
        return f"{path}{place}: {what}"
    except (yaml.YAMLError, RecursionError) as error:
        return f"{path} is not YAML: {error}"
    if not rcl_error:
        return ""
    remedy = next((f"; {text}" for part, text in REMEDIES.items() if part in rcl_error), "")
    return f"{path}: {_plain(rcl_error)}{remedy}"


def sections_of(path: Path) -> list[Section]:
    """Return the sections of a file, one for each node name; empty if the file cannot be read."""
    try:
        content = _load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []
    return list(_sections(content))


def mangled_blocks(path: Path) -> Iterator[str]:
    """Yield a sentence for each block that rcl reads under another name, and how to write it.

    When a block ends, rcl drops only the last part of its name. What follows a block whose name has
    a dot is then read as a part of it.
    """
    for section in sections_of(path):
        for written, read in dict.fromkeys(_blocks_as_rcl_reads(section)):
            if read != written:
                yield (
                    f"{path}: {written}: ROS reads this block as {read}, since the name of a block "
                    "before it has a dot; write each of its parameters as one line, such as "
                    f"`{written}.topic: …`, right under {PARAMETERS}"
                )


def unmatched(paths: Iterable[Path], node: str, given: Iterable[str]) -> Iterator[str]:
    """A sentence for each file that has no parameter for the node.

    Args:
        paths: The parameter files of the node's process.
        node: The node's full name, with its namespace.
        given: The names of the parameters that the node has received.
    """
    known = set(given)
    for path in paths:
        sections = sections_of(path)
        if sections and not any(known.intersection(section.names) for section in sections):
            names = ", ".join(section.node for section in sections)
            yield (
                f"{path} has nothing for this node: it is {node}, the file is for {names}; write "
                f"`/**:` for every node, or `{node}:`"
            )


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # the loader makes text only


def _sections(content: Any, node: str = "") -> Iterator[Section]:
    """Yield the sections; a node name may be written in blocks: a namespace, and the node in it."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == PARAMETERS and isinstance(value, Mapping):
            yield Section(node, value)
        elif isinstance(value, Mapping):
            yield from _sections(value, f"{node}/{key}" if node else str(key))


def _blocks_as_rcl_reads(section: Section) -> Iterator[tuple[str, str]]:
    """Yield the name of each block that has parameters, as written and as rcl reads it."""
    for key, block in section.values.items():
        if key in BLOCKS and isinstance(block, Mapping):
            yield from _as_rcl_reads(block, [key], key)


def _as_rcl_reads(
    block: Mapping[str, Any], parts: list[str], written: str
) -> Iterator[tuple[str, str]]:
    """The same for the blocks within one block.

    Args:
        block: The content of the block.
        parts: The parts of its name as rcl reads it; changed in place.
        written: The name of the block as it is written.
    """
    for key, value in block.items():
        if not isinstance(value, Mapping):
            yield written, ".".join(parts)
            continue
        parts.extend(str(key).split("."))
        yield from _as_rcl_reads(value, parts, f"{written}.{key}")
        parts.pop()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(rcl_error: str) -> str:
    """Return the part of rcl's error about the file, without the location in rcl's source."""
    what = rcl_error.partition("Error: ")[2] or rcl_error
    return " ".join(what.partition(", at ")[0].split())
