"""Serves the Python code of users: a front that talks HTTP, and workers that run the code in processes of their own."""
