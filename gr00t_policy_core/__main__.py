# SPDX-License-Identifier: Apache-2.0
"""`python -m gr00t_policy_core` is `gr00t-policy`."""

import sys

from gr00t_policy_core.cli import main

sys.exit(main())
