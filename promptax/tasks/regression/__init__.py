"""Tasks of points: questions x, each answered by a number or a class."""
