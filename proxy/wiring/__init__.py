"""The only place that builds things: from Settings to what a process works with.

    web.py      create the services of a web process
    worker.py   create a worker
    common.py   what both, and the command line, need: lanes, clocks, the store's identity

Nothing connects before it is used, but the built-in accounts' file, where they are on, is opened and checked, and the
spool's folder tried out.
"""
