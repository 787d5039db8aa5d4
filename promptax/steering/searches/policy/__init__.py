"""Searches whose prompts are drawn by policies that learn."""
