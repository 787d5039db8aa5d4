"""Random programs: a small machine, what it writes, and the exact mixture of all programs."""
