"""Tasks of points whose answers are classes."""
