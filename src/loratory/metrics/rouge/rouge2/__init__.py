"""ROUGE 2.0 (Ganesan 2018, arXiv 1803.01937): ROUGE with synonyms, and of topic words.

`rouge2` scores columns of texts, `Rouge2` is the metric of a recipe. Sources of synonyms and
of topic words are named, read from a file, or given as callables; other packages register
theirs with `synonym_source` and `topic_source`.
"""

from loratory.metrics.rouge.rouge2.metric import Rouge2
from loratory.metrics.rouge.rouge2.score import rouge2
from loratory.metrics.rouge.rouge2.synonyms import Synonyms, synonym_source
from loratory.metrics.rouge.rouge2.topics import PartsOfSpeech, Topics, topic_source

__all__ = [
    "PartsOfSpeech",
    "Rouge2",
    "Synonyms",
    "Topics",
    "rouge2",
    "synonym_source",
    "topic_source",
]
