"""How hard properties are tried, beside the profiles of `conftest.py`."""

from hypothesis import settings

few = settings(max_examples=max(1, settings().max_examples // 5))
"""Decorates a property whose every example is many checks: a fifth of the profile's examples."""
