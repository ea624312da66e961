"""The clients of other systems, unmodified, against this hub: translated at the edge, called through the gateway."""
