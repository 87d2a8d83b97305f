"""Hypothesis profiles: `dev` (the default), `ci` (the same examples on every run) and `nightly` (many more)."""

import os

from hypothesis import HealthCheck, settings

_DEV = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", _DEV)
settings.register_profile("ci", _DEV, derandomize=True)
settings.register_profile("nightly", _DEV, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
