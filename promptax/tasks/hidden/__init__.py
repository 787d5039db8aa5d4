"""Sources with hidden states: hidden Markov models, and mixtures of them."""
