"""What could the base model do that the tuned one no longer can? Both judged the same items.

`losses` measures what was lost on each probe, `forgetting` says it in words, and `knee` finds the
scale of the adapter behind which more of it costs more than it wins. Nothing here needs a model.
"""

from loratory.evaluation.forgetting.finding import forgetting, not_measured

__all__ = ["forgetting", "not_measured"]
