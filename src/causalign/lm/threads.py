"""On how many threads torch computes: a process that continues another's work uses as many."""

__all__ = ["compute_threads", "use_threads"]


def compute_threads() -> int:
    """Return torch's number of threads, or 1 without torch."""
    try:
        import torch
    except ImportError:
        return 1
    return int(torch.get_num_threads())


def use_threads(count: int) -> None:
    """Let torch compute on ``count`` threads, if it is installed."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)
