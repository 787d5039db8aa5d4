"""Searches that write a prompt from its first symbol on, one file each."""
