"""What networks are made of: dense layers, attention, losses over many symbols."""
