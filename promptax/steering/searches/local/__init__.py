"""Searches that go from a prompt to one of its neighbours, one file each."""
