"""Searches around another search, one file each."""
