# SPDX-License-Identifier: Apache-2.0
"""Measurements for the pages of docs/benchmarks: `make bench`. Never imported by the product."""
