"""Finite pools: tasks that were drawn once from a prior, and come back again and again."""
