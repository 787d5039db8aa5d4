"""Weights that are tuned, one file each."""
