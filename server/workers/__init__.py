"""Several processes that serve: the supervisor that keeps them, and what they say to each other."""
