# SPDX-License-Identifier: Apache-2.0
"""Parameter files as a person wrote them, and what ROS makes of them. Pure.

rcl reads them with a parser of its own, which takes less than YAML allows and says little of what
is wrong. What is read here is read for messages only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from gr00t_ros.contract.parameters import MODALITIES

PARAMETERS = "ros__parameters"
FLAG = "--params-file"
# What rcl says, by a part of it, and what a person can do.
REMEDIES = {
    "before ros__parameters": f"write the parameters under `/**:` and, below that, `{PARAMETERS}:`",
    "No value": 'a name stands without a value: write "" for an empty text, or leave the name out',
    "same type": "a list must hold values of one type: names in quotes, and 1.0 among numbers",
    "Sequences": "a list must hold single values: no list and no block within it",
}


class _Loader(yaml.BaseLoader):
    """Refuses what YAML allows and ROS does not take, or drops without a word.

    Every value is text, whatever its tag says: launch tags what it writes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self._refuse("ROS takes no anchors and aliases (& and *), write the value out", None)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        blocks: dict[Any, bool] = {}
        for key, value in node.value:
            is_block = isinstance(value, yaml.MappingNode)
            if not (is_block and blocks.setdefault(key.value, is_block)):
                if key.value in blocks:
                    self._refuse(f"{key.value} stands there twice", key.start_mark)
                blocks[key.value] = is_block
        return node

    def _refuse(self, why: str, mark: Any) -> None:
        place = mark or self.peek_event().start_mark
        raise yaml.composer.ComposerError(None, None, why, place)


@dataclass(frozen=True, slots=True)
class Section:
    """The parameters that a file gives to one name of a node, such as ``/**``.

    Args:
        node: The name of the node.
        values: What stands under `ros__parameters`, in blocks as it was written.
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


def why_unreadable(path: Path, told: str = "") -> str:
    """What is wrong with a file that ROS cannot read, and what to do; empty if nothing is found.

    Args:
        path: The file.
        told: What rcl says of it.
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
        return f"{path} is no YAML: {error}"
    remedy = next((text for part, text in REMEDIES.items() if part in told), "")
    return f"{path}: {_plain(told)}{f'; {remedy}' if remedy else ''}" if told else ""


def sections_of(path: Path) -> list[Section]:
    """What a file gives to which nodes; empty if it cannot be read."""
    try:
        content = _load(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return []
    return list(_sections(content))


def mangled_blocks(path: Path) -> Iterator[str]:
    """A sentence for each block of a file that ROS gives another name, and how to write it.

    rcl forgets only the last part of a name when a block ends: what follows a block whose name has
    a dot is taken to be within the first parts of that name.
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
    """A sentence for each file of which the node takes nothing.

    Args:
        paths: The files.
        node: The node's full name, with its namespace.
        given: The names of the parameters that it was given.
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
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506: makes text only


def _sections(content: Any, node: str = "") -> Iterator[Section]:
    """Names of nodes may be written in blocks, too: a namespace, and the node in it."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == PARAMETERS and isinstance(value, Mapping):
            yield Section(node, value)
        elif isinstance(value, Mapping):
            yield from _sections(value, f"{node}/{key}" if node else str(key))


def _blocks_as_rcl_reads(section: Section) -> Iterator[tuple[str, str]]:
    """The name of each block that has parameters, as it is written, and as rcl reads it."""
    for key, block in section.values.items():
        if key in MODALITIES and isinstance(block, Mapping):
            yield from _as_rcl_reads(block, [key], key)


def _as_rcl_reads(
    block: Mapping[str, Any], parts: list[str], written: str
) -> Iterator[tuple[str, str]]:
    """As above, of one block.

    Args:
        block: What is in it.
        parts: Of its name, as rcl knows it; changed.
        written: Its name.
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


def _plain(told: str) -> str:
    """Of what rcl says, the part about the file: not where in rcl that was found."""
    what = told.partition("Error: ")[2] or told
    return " ".join(what.partition(", at ")[0].split())
