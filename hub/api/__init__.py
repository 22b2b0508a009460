"""The HTTP API: one file per resource, each with the operations that it answers."""
