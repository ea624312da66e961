"""What `byom.llm` is made of."""
