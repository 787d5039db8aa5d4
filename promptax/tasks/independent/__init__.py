"""Sources of independent symbols: categories, mixtures of them, and Dirichlet priors."""
