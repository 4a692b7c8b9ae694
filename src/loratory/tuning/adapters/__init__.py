"""The methods that peft lacks, in its own form: importing this package makes peft know them.

Their adapters are saved and loaded, switched on and off, and where they can be merged, by plain
peft. So is `PeftModel.from_pretrained`, once this package is imported.
"""

from loratory.tuning.adapters.bitfit import BitFitConfig, BitFitTuner
from loratory.tuning.adapters.compacter import CompacterConfig, CompacterTuner
from loratory.tuning.adapters.full import FullConfig, FullTuner
from loratory.tuning.adapters.houlsby import HoulsbyConfig, HoulsbyTuner
from loratory.tuning.adapters.layerwise import LayerwiseConfig, LayerwiseTuner
from loratory.tuning.adapters.parallel import ParallelConfig, ParallelTuner
from loratory.tuning.adapters.pfeiffer import PfeifferConfig, PfeifferTuner
from loratory.tuning.adapters.registration import register

__all__ = [
    "BitFitConfig",
    "CompacterConfig",
    "FullConfig",
    "HoulsbyConfig",
    "LayerwiseConfig",
    "ParallelConfig",
    "PfeifferConfig",
]

register(BitFitConfig, BitFitTuner)
register(CompacterConfig, CompacterTuner)
register(FullConfig, FullTuner)
register(HoulsbyConfig, HoulsbyTuner)
register(LayerwiseConfig, LayerwiseTuner)
register(ParallelConfig, ParallelTuner)
register(PfeifferConfig, PfeifferTuner)
