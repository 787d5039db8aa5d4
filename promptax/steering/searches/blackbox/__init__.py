"""Searches that know nothing of a prompt but its loss."""
