"""What the machine remembers: typed tables, the one place that commits, and queries that never do."""
