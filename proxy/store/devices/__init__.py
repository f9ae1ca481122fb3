"""Registrations: for the web (registry) and the worker (addresses), called dead (removal), brought back (removed)."""
