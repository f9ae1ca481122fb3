"""Redis or Valkey. keys.py lists every key and says where it lies, scripts/ are the atomic steps.

first_contact.py  what a store says of itself     connection.py   the ways to the store: one server, the master that
records.py        how things lie there,           sentinels name (masters.py), a cluster (cluster.py, async_cluster.py,
                  compact_records.py in bytes     slots.py); round_trips.py, packing.py, availability.py, troubles.py
marks.py          dedupe marks, and how many      steps.py        changes that several shards share, step by step
upgrade.py        makes an earlier store compact  provider_tokens.py  APNs' JWT, shared by all processes
reshard.py        moves it to other shards        spooled_copies.py   what webhooks get of a spooled callback

queue/          callbacks in, streams, pauses of lanes, conversation locks, dead letters, history
devices/        registrations, and the removal guard
users/          blocked accounts and sessions, rate limits, the round trip that admits a caller, API keys
server/         the store itself: embedded, lost data, clocks, risks, what /readyz and /metrics show
"""
