"""Networks whose layers write what they read into a matrix."""
