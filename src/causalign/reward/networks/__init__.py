"""Networks on frozen vectors of texts: a family of architectures in each file, with its losses."""

from importlib.util import find_spec

from causalign.errors import ExtraNotInstalled

if find_spec("torch") is None:
    raise ExtraNotInstalled(
        "Networks need torch, which is not installed: `pip install 'causalign[lm]'`. Ridge and "
        "Pairwise work without."
    )
