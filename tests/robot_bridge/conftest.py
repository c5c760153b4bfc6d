"""Property tests of the bridge run without hypothesis' deadline: a busy machine is not a bug."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
