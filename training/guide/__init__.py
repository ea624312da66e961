"""`guide`: a language model of a few million parameters that knows BYOM's documentation and nothing else."""
