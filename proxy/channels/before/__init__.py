"""The transports that the worker still uses; those beside this folder take their place."""
