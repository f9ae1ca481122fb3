"""python -m proxy.emulators.mimc CONFIG.toml: prints the announcement as one line of JSON and nothing else."""

from proxy.emulators.mimc import MimcConfig, serve_mimc
from proxy.emulators.standalone import run

if __name__ == "__main__":
    run(lambda values, announce: serve_mimc(MimcConfig.from_mapping(values), announce))
