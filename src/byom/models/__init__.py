"""The object path: models as Python objects, and wrappers of the same type."""
