"""Prompts that gradients tune, one file each."""
