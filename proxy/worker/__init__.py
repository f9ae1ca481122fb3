"""The relay's worker.

process.py        the loops, the periodic work, the drain
consumer.py       claim, lease, capacity, take-over, poison, settle: for callbacks and lanes alike
plan.py           messages to jobs
handover.py       from the plan to lanes that have room: append, claim and look up in one round trip
deliver.py        jobs to pushes to decisions, one lane
forwarding.py     callbacks to one webhook
batches.py        the jobs of one request, and those that wait for a place on the wire
lane_control.py   a lane's pauses, probes and ramp
effects.py        what a decision changes besides its job
conversations.py  alerts that replace each other: one in flight
observer.py       the metrics and log lines of messages and jobs
readiness.py      whether this worker works, and if not, why; operator.py: where it says so
naming.py         messages that lack a name: each waits for its own
withdrawals.py    READ and RECALL at work: which alerts they take back
key_ages.py       since when keys are in their places, and when certificates end, as metrics
leases.py  in_flight.py  event_loop_watchdog.py  store_monitor.py  tasks.py  portions.py
"""
