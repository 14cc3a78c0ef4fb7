# SPDX-License-Identifier: Apache-2.0
"""The policy server: requests in, one reply each."""
