"""The store itself: our own server, lost data, clocks, risks, and what /readyz and /metrics show of all this."""
