# SPDX-License-Identifier: Apache-2.0
"""Measurements that docs/benchmarks.md is made of: `make bench`. Never imported by the product."""
