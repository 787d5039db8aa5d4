"""Searches that begin with demonstrations of the target and leave symbols out."""
