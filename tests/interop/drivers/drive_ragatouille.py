"""Does with RAGatouille what the tests ask for: a JSON list of [function, arguments]."""

import json
import sys
from pathlib import Path

from ragatouille import RAGPretrainedModel


def index(checkpoint, root, name, texts, ids, metadatas, split, longest=256):
    model = RAGPretrainedModel.from_pretrained(checkpoint, index_root=root)
    model.index(
        texts,
        document_ids=ids,
        document_metadatas=metadatas,
        index_name=name,
        max_document_length=longest,
        split_documents=split,
    )


def search(index, queries, output, k):
    model = RAGPretrainedModel.from_index(index)
    found = [model.search(query, k=k) for query in queries]
    vectors = model.model.model_index.searcher.encode(queries).tolist()
    Path(output).write_text(json.dumps({"found": found, "queries": vectors}))


def add(index, texts, ids):
    RAGPretrainedModel.from_index(index).add_to_index(texts, ids, split_documents=False)


def delete(index, ids):
    RAGPretrainedModel.from_index(index).delete_from_index(ids)


if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[1]):
        globals()[name](**arguments)
