# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration of the documentation: `make docs`, and ROS's documentation farm (rosdoc2).

The farm builds with its own packages, so that a theme or an extension may be missing there.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = (BESIDE / "package.xml").exists()


def find_package() -> Path:
    """The folder of package.xml; rosdoc2 works in a copy of docs/, in another folder."""
    if IS_CHECKOUT or "--package-path" not in sys.argv:
        return BESIDE
    return Path(os.environ.get("PWD", "."), sys.argv[sys.argv.index("--package-path") + 1])


sys.path.insert(0, str(find_package()))

project = "gr00t_ros"
author = "The gr00t_ros developers"
project_copyright = "2026, the gr00t_ros developers"
version = release = "0.1.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
extensions += [name for name in ("sphinx_copybutton",) if find_spec(name)]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "figures"]
if not IS_CHECKOUT:
    exclude_patterns += ["contributing.md", "changelog.rst"]  # rosdoc2 adds these files by itself

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a generated section may begin at any level

highlight_language = "text"  # of blocks that name none
# Docstrings name code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# Documenting a model needs none of what running one does.
LIBRARIES = (
    *("cv2", "huggingface_hub", "msgpack", "numpy", "PIL", "prometheus_client", "pyarrow", "ray"),
    *("rich", "ruckig", "safetensors", "simplejpeg", "tokenizers", "torch", "transformers", "zmq"),
)
autodoc_mock_imports = [name for name in LIBRARIES if not find_spec(name)]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# References within this package are checked; there is no inventory of others without a network.
nitpicky = True
# Signatures may name classes of rooms whose modules are not documented one by one.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!gr00t_).*"),
    (r"py:class", r"gr00t_policy_core\.(control|models)\..*"),
]

toc_object_entries_show_parents = "hide"
html_theme = "furo" if find_spec("furo") else "sphinx_rtd_theme"
html_title = "gr00t_ros"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sourcelink = False
