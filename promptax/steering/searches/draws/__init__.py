"""Searches that draw whole prompts and keep the best of them, one file each."""
