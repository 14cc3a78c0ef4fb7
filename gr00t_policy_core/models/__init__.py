# SPDX-License-Identifier: Apache-2.0
"""GR00T's networks. Only this package imports torch and transformers."""

try:
    import torch as _torch  # noqa: F401
    import transformers as _transformers  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"a local model needs {error.name}, which is not installed: run pip install '.[gr00t]' in "
        "the folder of gr00t_ros"
    ) from error

from gr00t_policy_core.models.gr00t_policy import Gr00tPolicy

__all__ = ["Gr00tPolicy"]
