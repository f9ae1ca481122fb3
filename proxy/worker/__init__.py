"""The relay's worker.

process.py        the loops, the periodic work, the drain
consumer.py       claim, lease, capacity, take-over, poison, settle: for callbacks and lanes alike
plan.py           messages to jobs
deliver.py        jobs to pushes to decisions, one lane
conversations.py  alerts that replace each other: one in flight
leases.py  in_flight.py  event_loop_watchdog.py  store_monitor.py  tasks.py
observer.py       what is counted and logged
report.py  operator.py    what the worker says of itself, and where
"""
