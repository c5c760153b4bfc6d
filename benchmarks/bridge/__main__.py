"""Measure the policy server beside the field's, and the control loop beside a busy policy.

encodings: how long packing and unpacking of one request take, in each form.
round-trip: a policy that returns at once, 2 x 128 x 128 x 3 uint8 and the state, loopback; ours, GR00T N1.6's and
N1.7's arrays over REQ/REP, openpi's websocket, and frames that nobody reads, alternating; once on a quiet machine, once
beside one busy process for every core, and there ours with real-time priority on both sides, too.
load: clients that ask 20 times a second each, of a policy that takes 20 ms on another processor.
fleet: 1, 4, 16 and 32 robots that ask 5 times a second each, of the default bundle on this processor.
jitter: how late the control loop's ticks are at 20 Hz while a policy computes in another process, with real-time
priority and without.
"""

from benchmarks.bridge.fleet import fleet
from benchmarks.bridge.jitter import jitter
from benchmarks.bridge.round_trip import encodings, load, round_trip
from common.cli import CommandParser, run
from policy import DEFAULT_BUNDLE


def main(argv: list[str]) -> None:
    """The command."""
    kinds = ("encodings", "round-trip", "load", "fleet", "jitter")
    parser = CommandParser("benchmarks.bridge", __doc__)
    parser.add_argument("what", nargs="*", metavar="what", default=["encodings", "round-trip"], help=" ".join(kinds))
    parser.add_argument("--count", type=int, default=4000, help="round trips of each kind")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each part of load, fleet and jitter")
    parser.add_argument("--clients", type=int, default=8, help="clients of load")
    parser.add_argument("--robots", type=int, nargs="+", default=[1, 4, 16, 32], help="numbers of robots of fleet")
    parser.add_argument("--checkpoint", default=DEFAULT_BUNDLE, help="the policy of fleet")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.what) - set(kinds):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(kinds)}")
    for what in arguments.what:
        if what == "encodings":
            encodings()
        elif what == "round-trip":
            round_trip(arguments.count, busy=False)
            round_trip(arguments.count, busy=True)
        elif what == "load":
            load(arguments.seconds, arguments.clients)
        elif what == "fleet":
            fleet(arguments.checkpoint, arguments.seconds, arguments.robots)
        else:
            jitter(arguments.seconds)


if __name__ == "__main__":
    run(main)
