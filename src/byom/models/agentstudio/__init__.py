"""AgentStudio's remote protocol, in both directions, without running anything that the bytes name.

The protocol carries pickles. They are read here by a machine that knows only data (`machine`), and written opcode by
opcode (`writer`); the module ``pickle`` takes no part. `wire` is the way in.
"""
