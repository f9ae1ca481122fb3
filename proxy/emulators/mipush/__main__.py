"""python -m proxy.emulators.mipush CONFIG.toml: prints the announcement as one line of JSON and nothing else."""

from proxy.emulators.mipush import MipushConfig, serve_mipush
from proxy.emulators.standalone import run

if __name__ == "__main__":
    run(lambda values, announce: serve_mipush(MipushConfig.from_mapping(values), announce))
