# SPDX-License-Identifier: Apache-2.0
"""Writes a report as one HTML file that needs nothing else: no scripts, no fonts, no network.

Plots are matplotlib figures as SVG: sharp at any size, and some tens of kilobytes each, where an
interactive library would add megabytes of script.
"""

from __future__ import annotations

import html
import importlib.util
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 2rem auto;
  max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; }
p.subtitle { color: #57606a; margin-top: 0; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.8rem; border-bottom: 1px solid #d8dee4; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td.text, th.text { text-align: left; }
th { font-weight: 600; color: #57606a; }
.table { overflow-x: auto; }
ol.findings { padding: 0; list-style: none; }
ol.findings li { border-left: 4px solid #57606a; background: #f6f8fa; margin: 0.6rem 0;
  padding: 0.5rem 0.9rem; }
ol.findings li.bad { border-color: #cf222e; } ol.findings li.warning { border-color: #bf8700; }
ol.findings li.good { border-color: #1a7f37; }
ol.findings b { display: block; } ol.findings .remedy { color: #57606a; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
figcaption { color: #57606a; font-size: 0.9rem; }
""".strip()


class HtmlPage:
    """A page that is put together from top to bottom; all text is escaped.

    Args:
        title: The heading, and the title of the window.
        subtitle: A line below it.
    """

    def __init__(self, title: str, subtitle: str) -> None:
        self._title = title
        self._parts = [
            f"<h1>{html.escape(title)}</h1>",
            f'<p class="subtitle">{html.escape(subtitle)}</p>',
        ]

    def heading(self, text: str, level: int = 2) -> None:
        """Begin a section."""
        self._parts.append(f"<h{level}>{html.escape(text)}</h{level}>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def findings(self, entries: Iterable[tuple[str, str, str, str]]) -> None:
        """Add a list of findings.

        Args:
            entries: Level (``bad``, ``warning``, ``good`` or ``note``), title, text and remedy.
        """
        items = [
            f'<li class="{html.escape(level)}"><b>{html.escape(title)}</b>{html.escape(text)}'
            f'<div class="remedy">{html.escape(remedy)}</div></li>'
            for level, title, text, remedy in entries
        ]
        self._parts.append(f'<ol class="findings">{"".join(items)}</ol>')

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add a table.

        Args:
            headings: Of the columns.
            rows: Their cells; numbers are shown with four digits, NaN and None as a dash.
        """
        cells = [list(row) for row in rows]
        are_texts = (
            [isinstance(cell, str) for cell in cells[0]] if cells else [False] * len(headings)
        )
        head = "".join(map(_heading, headings, are_texts))
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in cells)
        self._parts.append(
            f'<div class="table"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def figure(self, figure: Figure, caption: str) -> None:
        """Add a plot, and close it."""
        text = html.escape(caption)
        number = len(self._parts)
        self._parts.append(
            f"<figure>{_svg(figure, number)}<figcaption>{text}</figcaption></figure>"
        )

    def __str__(self) -> str:
        head = f'<meta charset="utf-8"><title>{html.escape(self._title)}</title>'
        viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">'
        return (
            f'<!doctype html>\n<html lang="en"><head>{head}{viewport}<style>{_STYLE}</style></head>'
            f"\n<body>\n{chr(10).join(self._parts)}\n</body></html>\n"
        )


def subplots(rows: int, height_in: float = 1.5) -> tuple[Figure, list[Any]]:
    """A figure of plots below each other that share the x axis, and its axes.

    Args:
        rows: The number of plots.
        height_in: The height of each, inches.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 0.8 + height_in * rows), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def require_matplotlib() -> None:
    """Check that plots can be drawn, before the work that they show.

    Raises:
        ImportError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError(
            "a report needs matplotlib: run pip install '.[report]' in the folder of gr00t_ros"
        )


def number(value: float | None) -> str:
    """A number with four digits; a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _heading(text: str, is_text: bool) -> str:
    kind = ' class="text"' if is_text else ""
    return f"<th{kind}>{html.escape(text)}</th>"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f'<td class="text">{html.escape(value)}</td>'
    return f"<td>{number(value)}</td>"


def _svg(figure: Figure, number: int) -> str:
    """The figure as SVG; its ids are its own, because all plots of a page share one namespace."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"figure {number}"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="f{number}-', text)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>f{number}-", text)
