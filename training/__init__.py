"""Training of the weights that BYOM carries."""
