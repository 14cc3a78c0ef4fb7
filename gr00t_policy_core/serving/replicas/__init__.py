# SPDX-License-Identifier: Apache-2.0
"""Several processes with the same policy behind one server, on this machine or on many, by Ray.

Only this package imports Ray, and only when a pool is started.
"""

from gr00t_policy_core.serving.replicas.pool import ReplicaPool

__all__ = ["ReplicaPool"]
