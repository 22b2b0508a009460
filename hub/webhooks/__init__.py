"""Signed callbacks (DESIGN §7): Standard Webhooks, at least once, to vetted addresses only."""
