from . import artifacts as artifacts
from . import audit as audit
from . import benchmark as benchmark
from . import checks as checks
from . import config as config
from . import data as data
from . import deconfound as deconfound
from . import errors as errors
from . import evaluate as evaluate
from . import experiment as experiment
from . import figures as figures
from . import files as files
from . import lm as lm
from . import logs as logs
from . import pipeline as pipeline
from . import policy as policy
from . import recipe as recipe
from . import report as report
from . import results as results
from . import reward as reward
from . import simulate as simulate
from . import stats as stats
from . import tracking as tracking
from .logs import Logs as Logs
from .logs import Pairs as Pairs
from .logs import Roles as Roles

__version__: str
