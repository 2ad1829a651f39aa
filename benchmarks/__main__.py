"""Speed and size, measured on this machine: `python -m benchmarks COMMAND`, see docs/performance.md."""

import argparse
import sys

from benchmarks import (
    compare,
    databases,
    everything,
    guard,
    inprocess,
    latency,
    many_limits,
    memory,
    profiling,
    reading,
    report,
    saturation,
    scale,
    scripts,
    sessions,
    sizes,
    spans,
    streams,
    topologies,
    walk,
)

_COMMANDS = {
    "all": everything,
    "compare": compare,
    "latency": latency,
    "inprocess": inprocess,
    "walk": walk,
    "scripts": scripts,
    "sizes": sizes,
    "saturation": saturation,
    "scale": scale,
    "memory": memory,
    "limits": many_limits,
    "spans": spans,
    "sessions": sessions,
    "streams": streams,
    "reading": reading,
    "topologies": topologies,
    "databases": databases,
    "profile": profiling,
    "report": report,
    "guard": guard,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        assert module.__doc__
        says = module.__doc__.partition("\n")[0]
        command = commands.add_parser(name, help=says, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(do=module.run)
    options = parser.parse_args(sys.argv[1:] or ["all"])
    options.do(options)


if __name__ == "__main__":
    main()
