"""Asks Cohere's own library what the tests ask memstore: a JSON list of [function, arguments]."""

import json
import os
import sys
import time
from pathlib import Path


def rerank(environment, model, query, documents, output):
    os.environ.update(environment)
    import cohere  # reads CO_API_URL when it is imported

    waits = []
    time.sleep = waits.append
    told = {"waits": waits}
    try:
        answer = cohere.ClientV2().rerank(model=model, query=query, documents=documents)
    except cohere.core.ApiError as error:
        told["error"] = type(error).__name__
    else:
        told["results"] = [[found.index, found.relevance_score] for found in answer.results]
    Path(output).write_text(json.dumps(told))


if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[1]):
        globals()[name](**arguments)
