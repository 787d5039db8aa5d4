"""Can a prompt do it, or must the weights move? Exact answers, and words for them."""
