"""Callbacks on this machine's disk while the store is away, and their way into it afterwards.

inbox   the store, or while it is away the spool          format  how a record lies in a file; pure
folder  the spool of this process in the machine's folder file    one file: append and fsync, or adopt and read
drain   files without a writer, into the store        health  its state, for an operator
"""
