"""Callbacks to the developer's own servers: to signed requests, and answers to outcomes (wire); pure."""
