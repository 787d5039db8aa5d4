"""Sources of facts: what is asked for, what is beside the point, and what contradicts."""
