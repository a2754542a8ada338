"""Images on disk: reading them safely, taking them in, and moving them without ever losing or doubling one."""
