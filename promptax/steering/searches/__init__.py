"""Searches over prompts of real tokens, one file each."""
