"""Token by token: single steps, sampling, and lossless compression."""
