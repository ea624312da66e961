"""What the management API takes and answers: one file for each resource. No answer has a field for a secret."""
