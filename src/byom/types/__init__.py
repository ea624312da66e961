"""Values that every part shares: no input or output, no dependencies but msgspec."""
