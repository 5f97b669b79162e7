"""The machine: its limits, its cores, and what its kernel tells of a process."""
