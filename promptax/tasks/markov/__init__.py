"""Sources whose next symbol depends on the last few: Markov chains and context trees."""
