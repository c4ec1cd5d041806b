"""Precision, recall and speed of the search for personal data on invented support tickets.

    python benchmarks/personal_data.py [--quick] [--json FILE] [--presidio-python PATH]

Every ticket, person and number is made here from a seed: nobody's data. PATH is the Python of an
environment with presidio-analyzer; its pattern engine is then timed on the same texts.
"""

import argparse
import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from support_tickets import Span, documents, tickets

from ftool.prepare.refine.redact import find_personal_data

ROWS = 2000


def scores(rows: list[tuple[str, list[Span]]]) -> dict[str, dict[str, Any]]:
    """Return precision and recall by type; a find counts where type, start and end agree."""
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for text, spans in rows:
        finds = {(find.start, find.end, find.kind) for find in find_personal_data(text)}
        right.update(kind for _, _, kind in finds & set(spans))
        found.update(kind for _, _, kind in finds)
        gold.update(kind for _, _, kind in spans)
    kinds = sorted(gold | found)
    table = {kind: _score(right[kind], found[kind], gold[kind]) for kind in kinds}
    return table | {"all": _score(right.total(), found.total(), gold.total())}


def _score(right: int, found: int, gold: int) -> dict[str, Any]:
    return {
        "precision": right / found if found else 1.0,
        "recall": right / gold if gold else 1.0,
        "found": found,
        "gold": gold,
    }


def speed(texts: list[str], repeats: int = 3) -> float:
    """Return documents per second, the best of some passes."""
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        for text in texts:
            find_personal_data(text)
        best = min(best, time.perf_counter() - started)
    return len(texts) / best


PRESIDIO = """
import json, sys, time
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from presidio_analyzer import predefined_recognizers as known

class NoLanguage(NlpEngine):
    def load(self): pass
    def is_loaded(self): return True
    def process_text(self, text, language): return NlpArtifacts([], [], [], [], self, language)
    def process_batch(self, texts, language, **_):
        return ((text, self.process_text(text, language)) for text in texts)
    def is_stopword(self, word, language): return False
    def is_punct(self, word, language): return False
    def get_supported_entities(self): return []
    def get_supported_languages(self): return ["en"]

names = ("EmailRecognizer", "PhoneRecognizer", "CreditCardRecognizer", "IbanRecognizer",
         "IpRecognizer", "UsSsnRecognizer", "EsNifRecognizer")
made = [getattr(known, name)(supported_language="en") for name in names if hasattr(known, name)]
engine = AnalyzerEngine(registry=RecognizerRegistry(recognizers=made), nlp_engine=NoLanguage(),
                        supported_languages=["en"], context_aware_enhancer=None)
texts = json.load(sys.stdin)
engine.analyze(text=texts[0], language="en")
started = time.perf_counter()
for text in texts:
    engine.analyze(text=text, language="en")
rate = len(texts) / (time.perf_counter() - started)
print(json.dumps({"documents_per_second": rate, "recognizers": len(made)}))
"""


def presidio(python: str, texts: list[str]) -> dict[str, Any]:
    """Time presidio's pattern recognizers in another environment."""
    run = subprocess.run(
        [python, "-c", PRESIDIO],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return result


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    for kind, score in result["types"].items():
        rates = f"precision {score['precision']:.4f}  recall {score['recall']:.4f}"
        print(f"{kind:12} {rates}  of {score['gold']:,}")
    ours = result["documents_per_second"]
    print(f"{ours:,.0f} documents of 100 words a second without finds")
    print(f"{result['tickets_per_second']:,.0f} tickets a second")
    if "presidio" in result:
        theirs = result["presidio"]["documents_per_second"]
        print(f"presidio: {theirs:,.0f} documents a second; ratio {ours / theirs:.1f}")


def main() -> None:
    """Print precision and recall by type, and documents per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--presidio-python", help="Python of an environment with presidio-analyzer")
    arguments = parser.parse_args()
    rows = ROWS // 10 if arguments.quick else ROWS
    labelled, plain = tickets(rows), documents(rows)
    result: dict[str, Any] = {
        "rows": rows,
        "types": scores(labelled),
        "documents_per_second": speed(plain),
        "tickets_per_second": speed([text for text, _ in labelled]),
    }
    if arguments.presidio_python:
        result["presidio"] = presidio(arguments.presidio_python, plain[: rows // 4])
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
