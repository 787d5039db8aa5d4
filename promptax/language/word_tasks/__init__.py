"""Tasks on words, learned from a few examples in the context."""
