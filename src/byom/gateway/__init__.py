"""The byte path: authenticate, admit, forward, tee, settle."""
