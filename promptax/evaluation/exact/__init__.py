"""Exact expectations over all sequences: by counts, by beliefs, by every sequence."""
