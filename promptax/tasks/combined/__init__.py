"""Tasks made of tasks: mixtures, products, switches, and sources that are told by a tag."""
