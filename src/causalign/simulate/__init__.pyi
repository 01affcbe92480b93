import collections.abc

from .demand import Demand as Demand
from .entangled_news import EntangledNews as EntangledNews
from .hidden_promotion import HiddenPromotion as HiddenPromotion
from .interacting import Interacting as Interacting
from .labelled_texts import LabelledTexts as LabelledTexts
from .labelled_texts import read_labelled_texts as read_labelled_texts
from .labelled_texts import template_texts as template_texts
from .marker_by_day import MarkerByDay as MarkerByDay
from .marker_log import MarkerDesign as MarkerDesign
from .marker_log import MarkerLog as MarkerLog
from .newsletter import Newsletter as Newsletter
from .nonlinear_instruments import NonlinearInstruments as NonlinearInstruments
from .opposite_tastes import OppositeTastes as OppositeTastes
from .partially_linear import PartiallyLinear as PartiallyLinear
from .pricing import Pricing as Pricing
from .silent_readers import SilentReaders as SilentReaders
from .simulated import Simulated as Simulated
from .simulated import SimulatedDesign as SimulatedDesign
from .simulated import Simulator as Simulator
from .text_cause import TextCause as TextCause
from .weak_instruments import WeakInstruments as WeakInstruments
from .written_by_model import WrittenByModel as WrittenByModel
from .written_by_model import write_lessons as write_lessons

DESIGNS: collections.abc.Mapping[str, type[MarkerDesign]]
SIMULATORS: collections.abc.Mapping[str, type[Simulator]]
