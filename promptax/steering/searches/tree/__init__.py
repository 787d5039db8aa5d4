"""Searches in a tree of prefixes."""
