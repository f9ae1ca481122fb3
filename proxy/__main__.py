"""`python -m proxy` is `app-proxy`."""

from proxy.cli import main

main()
