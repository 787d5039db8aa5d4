"""Searches that keep many prompts and mix them, one file each."""
