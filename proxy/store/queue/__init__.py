"""Callbacks in, streams with leases, pauses of lanes, conversation locks, dead letters."""
