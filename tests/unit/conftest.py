"""How property tests run: a busy machine is slower, and no worse for it."""

from hypothesis import HealthCheck, settings

# with CI set Hypothesis has a profile of its own, which does the same
settings.register_profile(
    "patient", settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
if settings.get_current_profile_name() == "default":
    settings.load_profile("patient")
