"""Serves the models of AgentStudio's own model server over OpenAI's wire format."""
