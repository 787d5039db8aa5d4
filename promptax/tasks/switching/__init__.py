"""Sources that switch: independent symbols within a segment, and a new row for each segment."""
