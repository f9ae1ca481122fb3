"""Blocked accounts and sessions, and rate limits."""
