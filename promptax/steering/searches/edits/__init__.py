"""Searches that edit the prompts that stand, as a critic of them suggests."""
