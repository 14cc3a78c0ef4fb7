# SPDX-License-Identifier: Apache-2.0
"""The encoding of modality configs, in both dialects.

A config is a map ``{marker: true, "as_json": {…}}``; each dialect has a marker of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gr00t_policy_core.errors import ProtocolError, SpecError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.serving.wire.arrays import Dialect, type_name

CONFIG_MARKERS = {
    Dialect.N1D6: "__ModalityConfig_class__",
    Dialect.N1D7: "__ModalityConfig__",
}
MAX_CONFIG_CHARS = 2**20  # a real one has about two thousand
_CONFIG_MARKERS = frozenset(
    spelling for marker in CONFIG_MARKERS.values() for spelling in (marker, marker.encode())
)


def config_fields(config: ModalityConfig, dialect: Dialect | None) -> dict[str, Any]:
    """Encode a modality config as a map; without a dialect it carries the markers of both."""
    markers = CONFIG_MARKERS.values() if dialect is None else [CONFIG_MARKERS[dialect]]
    return {**dict.fromkeys(markers, True), "as_json": config.as_json()}


def decode_config(
    fields: Mapping[Any, Any],
) -> tuple[ModalityConfig, frozenset[Dialect]] | None:
    """Build the modality config that a decoded map encodes.

    Its fields, under ``as_json``, are a map, or JSON as text or bytes, which N1.7 since July 2026
    also reads. The markers and ``as_json`` can be text or bytes.

    Returns:
        The config, and the dialects whose marker it carries; None where the map is not a config.

    Raises:
        ProtocolError: The map is marked as a config, but it is malformed.
    """
    if _CONFIG_MARKERS.isdisjoint(fields):
        return None
    dialects = frozenset(
        dialect
        for dialect, marker in CONFIG_MARKERS.items()
        if marker in fields or marker.encode() in fields
    )
    as_json = _parsed(fields.get("as_json", fields.get(b"as_json")))
    if not isinstance(as_json, dict):
        raise ProtocolError(
            "a modality config needs a map, or JSON of one, under 'as_json', got "
            f"{type_name(as_json)}"
        )
    try:
        return ModalityConfig(**as_json), dialects
    except (SpecError, TypeError) as error:
        raise ProtocolError(f"malformed modality config: {error}") from None


def _parsed(as_json: Any) -> Any:
    """Parse JSON text or bytes; anything else is returned unchanged."""
    if not isinstance(as_json, (str, bytes)):
        return as_json
    if len(as_json) > MAX_CONFIG_CHARS:
        raise ProtocolError(
            f"a modality config of {len(as_json)} bytes, {MAX_CONFIG_CHARS} at most"
        )
    try:
        return json.loads(as_json)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a modality config whose 'as_json' is not JSON: {error}") from None
