"""Engines: programs that serve weights in OpenAI's wire format, behind one seam."""
