"""Searches that follow gradients of the loss, one file each."""
