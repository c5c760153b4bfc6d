"""Pages that show what an evaluation or a training did; each is a folder that opens from disk, without a network.

Examples:
  python -m sim.report results/mine/results.json                      tables, bars, every episode with its video
  python -m sim.report results/mine/results.json results/theirs/results.json     two of them, episode by episode
  python -m sim.report --train runs/motion_tokenizer/mine             curves of a training run, and what it draws

python -m sim.eval --report writes the first by itself, with videos and predicted motion. The page is index.html in
the folder 'report' beside the (first) results, or in --out DIR.
"""

import argparse
from pathlib import Path

from common import cli
from common.errors import UserError
from sim.evaluation.results import Results
from sim.report.evaluation_page import write_evaluation


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = cli.CommandParser("sim.report", __doc__)
    command.add_argument("results", nargs="*", type=Path, help="results.json of one evaluation, or of two to compare")
    command.add_argument("--train", type=Path, metavar="RUN", help="folder of a training run")
    command.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default: 'report' beside the input)")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    return command


def main(argv: list[str]) -> None:
    options = parser().parse_args(argv)
    if options.train and not options.results:
        from sim.report.training_page import write_training

        print(write_training(options.train, options.out or options.train / "report"))
        return
    if options.train or not 1 <= len(options.results) <= 2:
        raise UserError("name one results.json, or two to compare, or a training run with --train RUN")
    results = [Results.load(path / "results.json" if path.is_dir() else path) for path in options.results]
    print(write_evaluation(results, options.out or results[0].path.parent / "report"))


if __name__ == "__main__":
    cli.run(main)
