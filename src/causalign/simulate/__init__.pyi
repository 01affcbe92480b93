import collections.abc

from .demand import Demand as Demand
from .entangled_news import EntangledNews as EntangledNews
from .interacting import Interacting as Interacting
from .newsletter import Newsletter as Newsletter
from .nonlinear_instruments import NonlinearInstruments as NonlinearInstruments
from .opposite_tastes import OppositeTastes as OppositeTastes
from .partially_linear import PartiallyLinear as PartiallyLinear
from .pricing import Pricing as Pricing
from .simulated import Simulated as Simulated
from .simulated import SimulatedDesign as SimulatedDesign
from .simulated import Simulator as Simulator
from .weak_instruments import WeakInstruments as WeakInstruments

SIMULATORS: collections.abc.Mapping[str, type[Simulator]]
