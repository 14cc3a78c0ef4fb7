# SPDX-License-Identifier: Apache-2.0
"""Conversions of bags by the command line, and their reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from policies_for_tests import parameters

pytest.importorskip("av", reason="videos need PyAV (the extra 'convert')")
from gr00t_policy_core import cli


def write_config(path: Path, **changes: Any) -> Path:
    values = parameters(**{"max_skew_s": 0.03, **changes})
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path


def convert(*arguments: Any) -> int:
    return cli.main(["convert", *map(str, arguments), "--jobs", "1"])


def report_of(dataset: Path) -> dict[str, Any]:
    return dict(json.loads((dataset / "meta/conversion.json").read_text()))
