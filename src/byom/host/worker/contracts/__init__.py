"""How user code is read: one module for each way of writing a model."""
