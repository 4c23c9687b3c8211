"""Hypothesis for rules: no deadline, because wall time on a shared machine says nothing; failures print a replay."""

from hypothesis import settings

settings.register_profile("rules", deadline=None, print_blob=True)
settings.load_profile("rules")
