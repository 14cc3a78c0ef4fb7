# SPDX-License-Identifier: Apache-2.0
"""The two files of a report: an HTML page for people, and JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gr00t_policy_core.html_page import HtmlPage
from gr00t_policy_core.output_files import output_folder, write_whole

HTML_NAME, JSON_NAME = "report.html", "report.json"


def write_report(folder: Path, page: HtmlPage, content: Mapping[str, Any]) -> None:
    """Write both files; the folder is made.

    Args:
        folder: Where to.
        page: The page.
        content: Plain lists and dicts; NaN and infinity become null, which JSON has in their place.

    Raises:
        OSError: A file cannot be written.
    """
    text = json.dumps(finite(content), indent=1, allow_nan=False)
    html = str(page)
    with output_folder(folder):
        write_whole((folder / JSON_NAME, f"{text}\n"), (folder / HTML_NAME, html))


def finite(value: Any) -> Any:
    """The same lists and dicts with None for numbers that are not finite, and keys as text."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
