from .blind_log import BlindLog as BlindLog
from .blind_log import Estimate as Estimate
from .blind_log import Estimator as Estimator
from .estimators import ESTIMATORS as ESTIMATORS
from .repetition import run as run
from .scoreboard import Answer as Answer
from .scoreboard import Scoreboard as Scoreboard
