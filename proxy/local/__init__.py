"""The whole service on one machine: `app-proxy run`."""
