from hypothesis import settings

# A deadline would be a timing assertion: an example may be as slow as the machine is busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
