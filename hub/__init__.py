"""Jobcast's hub: what both sides speak, the Redis store, and the push server."""
