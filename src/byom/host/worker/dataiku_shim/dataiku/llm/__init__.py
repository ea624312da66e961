"""Language models: bases of plugin code (``python``) and of guardrails (``guardrails``)."""
