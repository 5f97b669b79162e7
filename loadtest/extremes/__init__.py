"""The two ends of the machine: a crowd held by many processes, and threads until one is refused."""
