"""Speed and size, measured on this machine: `python -m benchmarks COMMAND`, see docs/performance.md."""

import argparse

from benchmarks import compare, guard, latency, memory, profiling, scale, scripts, sizes, streams

_COMMANDS = {
    "compare": compare,
    "latency": latency,
    "scripts": scripts,
    "profile": profiling,
    "sizes": sizes,
    "scale": scale,
    "memory": memory,
    "streams": streams,
    "guard": guard,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(do=module.run)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
