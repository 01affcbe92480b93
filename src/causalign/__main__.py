"""Run the command line, as ``causalign`` and as ``python -m causalign``."""

import signal
import sys
from contextlib import suppress

from causalign.terminal import SIGNALS, Stopped, watch_signals


def _complain(sentence: str) -> None:
    with suppress(OSError):
        print(f"error: {sentence}", file=sys.stderr, flush=True)


def main() -> None:
    """Run the command line; a signal that comes while it is being loaded ends it as later ones."""
    try:
        with watch_signals(_complain):
            from causalign.cli import main as run

            run()
    except Stopped as stopped:
        _end(stopped)
    except SystemExit as ended:
        if ended.code in [128 + number for number in SIGNALS]:
            _ignore_signals()
        raise
    except ImportError as failure:  # an extension that a signal interrupted cannot be loaded
        if not isinstance(failure.__context__, Stopped):
            raise
        _end(failure.__context__)


def _end(stopped: Stopped) -> None:
    _ignore_signals()
    _complain(stopped.sentence)
    sys.exit(stopped.exit_code)


def _ignore_signals() -> None:
    """Let nothing interrupt what runs while the interpreter ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
