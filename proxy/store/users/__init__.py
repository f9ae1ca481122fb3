"""Blocked accounts and sessions, rate limits, and the round trip in which a caller is admitted."""
