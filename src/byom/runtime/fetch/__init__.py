"""Bringing weights onto this machine: resumed, checked, cached."""
