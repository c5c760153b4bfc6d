"""The machine that simulation runs on: what it renders with, what it has, and whether that is enough."""
