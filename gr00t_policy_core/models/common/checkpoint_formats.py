# SPDX-License-Identifier: Apache-2.0
"""Detects the format of a checkpoint (Isaac-GR00T, LeRobot, LoRA adapter) and reads its files."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gr00t_policy_core.errors import CheckpointError
from gr00t_policy_core.models.common import lerobot_checkpoint, lora
from gr00t_policy_core.models.common.checkpoint import Checkpoint, read_isaac
from gr00t_policy_core.models.common.checkpoint_folder import check_is_checkpoint, find_folder
from gr00t_policy_core.models.common.files import read_json
from gr00t_policy_core.models.common.hub import HubFolder, fetch
from gr00t_policy_core.models.registry import find_line, unknown_model_type

N1_5 = re.compile(r"gr00t[-_]?n1[-_d.]?5", re.IGNORECASE)
PUBLISHED_BASE = "nvidia/GR00T-N1.7-3B"  # its config.json is `gr00t_n1d7.config.PUBLISHED`

logger = logging.getLogger(__name__)


def open_checkpoint(
    model_path: str | Path,
    *,
    base_model_path: str | Path | None = None,
    backbone_path: str | Path | None = None,
) -> Checkpoint:
    """Read and check a checkpoint's files except for the weights.

    Args:
        model_path: A folder, an id on the Hugging Face hub, or a folder there
            (``nvidia/GR00T-N1.7-LIBERO/libero_10``), which comes from the local cache or is
            downloaded. It holds a checkpoint of Isaac-GR00T or LeRobot, or a LoRA adapter.
        base_model_path: The base model of a LeRobot checkpoint or an adapter. None takes the one
            that it names.
        backbone_path: The backbone's folder; the base model may be beside it.

    Raises:
        CheckpointError: A file is missing, damaged, incomplete or of another model; the message
            names it.
    """
    folder = find_folder(model_path)
    check_is_checkpoint(folder)
    if (folder / lora.CONFIG).exists():
        return _open_adapter(folder, base_model_path, backbone_path)
    config = read_json(folder / "config.json")
    if "type" in config:
        lerobot_checkpoint.check_type(folder, config)
        base = _base_config(folder, config, base_model_path, backbone_path)
        return lerobot_checkpoint.read_lerobot(folder, config, base)
    check_model_type(folder / "config.json", config)
    return read_isaac(folder, config)


def check_model_type(file: Path, config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for a config.json of no model line here."""
    kind = config.get("model_type")
    names = [kind, *(config.get("architectures") or [])]
    if any(isinstance(name, str) and N1_5.search(name) for name in names):
        raise CheckpointError(
            file,
            f"model_type {kind!r} is GR00T N1.5; supported are N1.6 and N1.7. Isaac-GR00T's "
            "branch n1.5-release runs it",
        )
    if find_line(kind) is None:
        raise CheckpointError(file, unknown_model_type(kind))


def _open_adapter(
    folder: Path, base_model_path: str | Path | None, backbone_path: str | Path | None
) -> Checkpoint:
    """Open a LoRA adapter and its base; processor files beside the adapter replace the base's."""
    adapter = lora.read_lora_adapter(folder)
    base_path = base_model_path if base_model_path is not None else adapter.base
    if base_path is None:
        raise CheckpointError(
            folder / lora.CONFIG,
            "names no base_model_name_or_path: set base_model_path to the base model",
        )
    base = _open_base(folder, base_path, backbone_path)
    lora.check_fits(adapter, base.tensors)
    own = _beside(folder, base, backbone_path)
    logger.info("%s: a LoRA adapter for %d layers of %s", folder, len(adapter.layers), base.folder)
    return replace(
        own,
        folder=folder,
        tensors={**base.tensors, **adapter.replaced},
        lora=adapter.layers,
        kind=f"LoRA adapter on a {base.kind}",
    )


def _open_base(folder: Path, base: str | Path, backbone_path: str | Path | None) -> Checkpoint:
    local = _find_local(str(base), folder, backbone_path)
    try:
        return open_checkpoint(local if local is not None else base, backbone_path=backbone_path)
    except CheckpointError as error:
        raise CheckpointError(
            folder / lora.CONFIG,
            f"is a LoRA adapter for {base}, which cannot be opened; set base_model_path to the "
            f"folder of that model. {error}",
        ) from error


def _beside(folder: Path, base: Checkpoint, backbone_path: str | Path | None) -> Checkpoint:
    """The base, with the embodiment of the processor files in the adapter's folder, if any."""
    file = folder / "config.json"
    config = read_json(file) if file.exists() else {}
    if "type" in config:
        lerobot_checkpoint.check_type(folder, config)
        return lerobot_checkpoint.read_lerobot(folder, config, base.config, base.tensors)
    if any((folder / at / "processor_config.json").exists() for at in (".", "processor")):
        return read_isaac(folder, base.config, base.tensors)
    return base


def _base_config(
    folder: Path,
    config: Mapping[str, Any],
    base_model_path: str | Path | None,
    backbone_path: str | Path | None,
) -> Mapping[str, Any]:
    """The config.json of a LeRobot checkpoint's base model."""
    base = str(base_model_path or config.get("base_model_path") or PUBLISHED_BASE)
    found = _find_local(base, folder, backbone_path)
    if found is None and base_model_path is None:
        found = _fetch_config(folder, base)
    if found is None and base_model_path is not None:
        raise CheckpointError(Path(base), "has no config.json: it is not a base model")
    if found is None:
        logger.info("%s: assuming the published architecture of %s", folder, base)
        return {"model_type": "Gr00tN1d7"}
    base_config = read_json(found / "config.json")
    if "type" in base_config:  # a fine-tuned checkpoint, which names its own base
        return _base_config(found, base_config, None, backbone_path)
    check_model_type(found / "config.json", base_config)
    return base_config


def _find_local(name: str, folder: Path, backbone_path: str | Path | None) -> Path | None:
    """Find a folder of that name: as a path, beside the checkpoint, or beside the backbone."""
    given = Path(name).expanduser()
    candidates = [given, folder / name, folder.parent / name]
    if backbone_path is not None:
        backbone = Path(backbone_path).expanduser()
        candidates += [backbone / name, backbone.parent.parent / name]
    found = (candidate for candidate in candidates if (candidate / "config.json").is_file())
    return next(found, None)


def _fetch_config(folder: Path, base: str) -> Path | None:
    """The folder with the base model's config.json from the hub.

    None if the hub does not give that of `PUBLISHED_BASE`, which is known.
    """
    wanted = HubFolder.parse(base)
    try:
        if wanted is None:
            raise CheckpointError(Path(base), "there is no such folder")
        return fetch(wanted, lambda _: ["config.json"], lambda at: (at / "config.json").is_file())
    except CheckpointError as error:
        if base == PUBLISHED_BASE:
            return None
        raise CheckpointError(
            folder / "config.json",
            f"names the base model {base}, whose config.json has the architecture: set "
            f"base_model_path to its folder, or run `hf download {base} config.json`. {error}",
        ) from error
