# SPDX-License-Identifier: Apache-2.0
"""What happened in a run: chunks, holds, jitter, latency, rates, and a verdict in words."""
