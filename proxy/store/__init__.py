"""Redis or Valkey. keys.py lists every key, records.py is how things lie there, scripts/ are the atomic steps.

connection.py   the ways to the store      provider_tokens.py  APNs' JWT, shared by all processes
queue/          callbacks in, streams, pauses of lanes, conversation locks, dead letters
devices/        registrations, and the removal guard
users/          blocked accounts and sessions, rate limits, the round trip that admits a caller
server/         the store itself: embedded, lost data, clocks, risks, what /readyz and /metrics show
"""
