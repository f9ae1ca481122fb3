"""python -m proxy.emulators.apns CONFIG.toml: prints the announcement as one line of JSON and nothing else."""

from proxy.emulators.apns import ApnsConfig, serve_apns
from proxy.emulators.standalone import run

if __name__ == "__main__":
    run(lambda values, announce: serve_apns(ApnsConfig.from_mapping(values), announce))
