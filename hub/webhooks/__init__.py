"""Signed callbacks: Standard Webhooks, at least once, to vetted addresses only."""
