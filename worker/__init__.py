"""Jobcast's worker: claims jobs and runs them."""
