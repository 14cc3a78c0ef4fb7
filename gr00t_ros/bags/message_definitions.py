# SPDX-License-Identifier: Apache-2.0
"""The definition of a message type as text, with which a bag can be read without the type."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

TYPE_NAME = re.compile(r"(?P<package>[a-z][a-z0-9_]*)/msg/(?P<type>[A-Z][A-Za-z0-9]*)")
SEPARATOR = "=" * 80
# A line with a field: its type, without the size of an array or the bound of a text.
FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+\w+", re.MULTILINE)
BASIC = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)) | {
    "bool",
    "byte",
    "char",
    "float32",
    "float64",
    "string",
    "wstring",
}
# What rosidl's Python classes call the basic types of a message definition.
PYTHON_NAMES = {"boolean": "bool", "octet": "byte", "float": "float32", "double": "float64"}
PYTHON_FIELD = re.compile(r"(?:sequence<(?P<item>.+?)(?:, (?P<bound>\d+))?>)|(?P<plain>.+)")


def message_class(type_name: str) -> type[Any]:
    """The Python class of a message type.

    Args:
        type_name: Such as ``sensor_msgs/msg/Image``.

    Raises:
        LookupError: The package of the type is not installed, or has no such type.
    """
    match = TYPE_NAME.fullmatch(type_name)
    try:
        if match is None:
            raise LookupError("not a name of the form package/msg/Type")
        # Names come from the network: only ROS packages are imported.
        get_package_share_directory(match["package"])
        found: type[Any] = getattr(
            importlib.import_module(f"{match['package']}.msg"), match["type"]
        )
    except (LookupError, ImportError, AttributeError, PackageNotFoundError) as error:
        raise LookupError(f"the message type {type_name} is not installed: {error}") from None
    return found


def message_definition(type_name: str) -> str:
    """The definition of a message type, followed by those of the types that it contains.

    This is what encoding ``ros2msg`` of MCAP means: definitions after the first stand below a line
    of 80 ``=`` and ``MSG: package/Type``.

    Args:
        type_name: Such as ``sensor_msgs/msg/Image``.

    Raises:
        LookupError: The package of the type is not installed, or has no such type.
    """
    texts: dict[str, str] = {}
    _collect(_short(type_name), texts)
    first, *others = texts.items()
    parts = [first[1], *(f"{SEPARATOR}\nMSG: {name}\n{text}" for name, text in others)]
    return "\n".join(parts)


def _collect(name: str, texts: dict[str, str]) -> None:
    """Add the definition of a type, and of those it contains, by short name."""
    if name in texts:
        return
    text = _text(name)
    texts[name] = text
    package = name.partition("/")[0]
    for contained in _contained(text):
        _collect(contained if "/" in contained else f"{package}/{contained}", texts)


def _contained(text: str) -> Iterator[str]:
    """Yield the type of each field that is a message."""
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    for match in FIELD.finditer(code):
        if match[1] not in BASIC:
            yield _short(match[1])


def _text(name: str) -> str:
    package, _, type_name = name.partition("/")
    try:
        path = Path(get_package_share_directory(package), "msg", f"{type_name}.msg")
        return path.read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError):
        return definition_of_class(message_class(f"{package}/msg/{type_name}"))


def definition_of_class(message_type: type[Any]) -> str:
    """The definition that a Python class shows, without comments, constants and defaults.

    For types that are installed without a .msg file, such as those written in IDL.
    """
    fields = message_type.get_fields_and_field_types().items()
    return "".join(f"{_field_type(kind)} {name}\n" for name, kind in fields)


def _field_type(kind: str) -> str:
    """A field's type as .msg files write it, from what the Python class says."""
    match = PYTHON_FIELD.fullmatch(kind)
    if match is not None and match["item"]:
        size = f"<={match['bound']}" if match["bound"] else ""
        return f"{_item_type(match['item'])}[{size}]"
    item, bracket, size = kind.partition("[")
    return f"{_item_type(item)}{bracket}{size}"


def _item_type(item: str) -> str:
    name, _, bound = item.partition("<")
    return PYTHON_NAMES.get(name, name) + (f"<={bound.rstrip('>')}" if bound else "")


def _short(name: str) -> str:
    """``package/Type`` of ``package/msg/Type``."""
    return name.replace("/msg/", "/")
