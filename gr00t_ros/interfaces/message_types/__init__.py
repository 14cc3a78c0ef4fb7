# SPDX-License-Identifier: Apache-2.0
"""One module for each message type. Any module in this folder is found and registers itself."""

import pkgutil
from importlib import import_module

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
